//! Signals during a wait, and forks: in the holder, and while others wait.

use std::os::unix::thread::JoinHandleExt;
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::support::locking::*;
use crate::support::{Cluster, Proxy, resource, wait_for};
use redlock::core::report::Status;
use redlock::engine::{Error, Lease, LockRequest, Options, Redlock};

static HANDLED: AtomicUsize = AtomicUsize::new(0);

extern "C" fn handler(_: libc::c_int) {
    HANDLED.fetch_add(1, Ordering::SeqCst);
}

/// SIGUSR1 without SA_RESTART, SIGUSR2 with it.
fn install_handlers() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        for (signal, flags) in [(libc::SIGUSR1, 0), (libc::SIGUSR2, libc::SA_RESTART)] {
            // SAFETY: an all-zero sigaction is valid; the handler only touches an atomic.
            unsafe {
                let mut action: libc::sigaction = std::mem::zeroed();
                action.sa_sigaction = handler as *const () as libc::sighandler_t;
                action.sa_flags = flags;
                assert_eq!(libc::sigaction(signal, &action, std::ptr::null_mut()), 0);
            }
        }
    });
}

type Waiting = thread::JoinHandle<Result<(), Error>>;

/// Waits for the lock, and gives it back at once.
fn wait_in_thread(handle: &Redlock, key: &str) -> Waiting {
    let (handle, request) = (handle.clone(), request(key, -1));
    thread::spawn(move || handle.lock(&request)?.unlock())
}

fn send(thread: &Waiting, signal: libc::c_int) {
    // SAFETY: the thread has not been joined, so its id is valid.
    assert_eq!(unsafe { libc::pthread_kill(thread.as_pthread_t(), signal) }, 0);
}

#[track_caller]
fn assert_interrupted(thread: Waiting) {
    at_the_speed_of_the_others(|| {
        let error = thread.join().expect("no panic").expect_err("interrupted");
        assert_eq!(error.status, Status::Interrupted, "{error}");
    });
}

#[test]
fn a_signal_ends_a_wait_and_leaves_no_key() {
    install_handlers();
    let cluster = Cluster::start(3);
    let (holder, handle) = (connect(&cluster), connect(&cluster));
    for signal in [libc::SIGUSR1, libc::SIGUSR2] {
        let key = resource("signal");
        let lease = lock(&holder, &key);
        let leader = wait_in_thread(&handle, &key);
        thread::sleep(Duration::from_millis(150));
        let (follower, last) = (wait_in_thread(&handle, &key), wait_in_thread(&handle, &key));
        thread::sleep(Duration::from_millis(150));
        send(&follower, signal);
        assert_interrupted(follower);
        send(&leader, signal);
        assert_interrupted(leader);
        assert!(!last.is_finished(), "only who gets the signal is interrupted");
        lease.unlock().expect("ours");
        last.join().expect("no panic").expect("its turn");
        assert_gone(&cluster, &key);
    }
}

#[test]
fn a_signal_in_the_middle_of_an_attempt_leaves_no_key() {
    install_handlers();
    let cluster = Cluster::start(3);
    let proxies: Vec<Proxy> = cluster.iter().map(|node| Proxy::to(node.port())).collect();
    let urls: Vec<String> = proxies.iter().map(Proxy::url).collect();
    let handle = connect_with(&urls, &options());
    proxies.iter().for_each(|proxy| proxy.delay_to_client(1_500));
    let key = resource("attempt");
    let waiting = wait_in_thread(&handle, &key);
    assert!(wait_for(Duration::from_secs(5), || cluster.holding(&key) == 3));
    send(&waiting, libc::SIGUSR1);
    assert_interrupted(waiting);
    assert_gone(&cluster, &key);
}

#[test]
fn a_signal_does_not_disturb_what_is_over_in_a_moment() {
    install_handlers();
    let cluster = Cluster::start(3);
    let handle = connect(&cluster);
    let busy = thread::spawn({
        let handle = handle.clone();
        move || {
            let key = resource("busy");
            for _ in 0..300 {
                let lease = loop {
                    match handle.lock(&request(&key, 0)) {
                        Err(error) if error.status == Status::Interrupted => {}
                        other => break other?,
                    }
                };
                lease.extend(TTL_MS)?;
                lease.unlock()?;
            }
            Ok(())
        }
    });
    let before = HANDLED.load(Ordering::SeqCst);
    while !busy.is_finished() {
        send(&busy, libc::SIGUSR1);
        thread::sleep(Duration::from_micros(300));
    }
    busy.join().expect("no panic").expect("extensions and releases end by themselves");
    assert!(HANDLED.load(Ordering::SeqCst) > before);
}

#[test]
fn signals_end_no_wait_of_a_handle_that_is_not_interruptible() {
    install_handlers();
    let cluster = Cluster::start(3);
    let holder = connect(&cluster);
    let handle = connect_with(&cluster.urls(), &Options { interruptible: false, ..options() });
    let lease = lock(&holder, "deaf");
    let waiting = [wait_in_thread(&handle, "deaf"), wait_in_thread(&handle, "deaf")];
    for _ in 0..20 {
        thread::sleep(Duration::from_millis(10));
        waiting.iter().for_each(|waiting| send(waiting, libc::SIGUSR1));
    }
    lease.unlock().expect("ours");
    for waiting in waiting {
        waiting.join().expect("no panic").expect("its turn");
    }
}

/// Runs `work` in a forked child, which ends with its number at once; 255 stands for a panic or a hang.
fn in_a_child(work: impl FnOnce() -> u8) -> u8 {
    // SAFETY: the child runs `work` alone and leaves with _exit. glibc makes its allocator usable after a fork, which
    // is all that the library's errors need besides their own code.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0);
    if pid == 0 {
        // SAFETY: SIGALRM's default action ends a child that hangs; _exit has no memory effects.
        unsafe { libc::alarm(10) };
        let code = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or(255);
        unsafe { libc::_exit(i32::from(code)) };
    }
    let mut status = 0;
    // SAFETY: waits for the child made above.
    assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
    if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) as u8 } else { 255 }
}

/// How many of these results say "forked".
fn forked<const N: usize>(results: [Option<Error>; N]) -> u8 {
    results.iter().flatten().filter(|error| error.status == Status::Forked).count() as u8
}

#[test]
fn a_forked_child_cannot_touch_the_parents_lock() {
    let cluster = Cluster::start(3);
    let handle = connect(&cluster);
    let key = resource("fork");
    let lease = lock(&handle, &key);
    assert!(wait_for(Duration::from_secs(5), || cluster.holding(&key) == 3));
    let clients = cluster[0].client_list().len();
    let code = in_a_child(|| {
        let answers = forked([
            lease.unlock().err(),
            lease.extend(TTL_MS).err(),
            handle.lock(&request("other", -1)).err(),
            handle.unlock_token(key.as_bytes(), lease.token()).err(),
            handle.inspect(key.as_bytes()).err(),
            handle.cancel(1).err(),
            handle.stats().err(),
            handle.wait_ready(-1, None).err(),
        ]);
        // What a child does with its copies reaches no server.
        handle.end();
        drop(lease_of(&lease));
        answers
    });
    assert_eq!(code, 8, "every call says so");
    thread::sleep(Duration::from_millis(100));
    assert_eq!(cluster.holding(&key), 3);
    assert_eq!(cluster[0].client_list().len(), clients, "the parent's connections live");
    lease.extend(TTL_MS).expect("the parent goes on");
    lease.unlock().expect("the parent goes on");
    assert_gone(&cluster, &key);
}

/// Everything a lease can be asked without a server.
fn lease_of(lease: &Lease) -> (Vec<u8>, i64, usize) {
    (lease.token().to_vec(), lease.remaining_ms(), lease.node_count_held())
}

#[test]
fn a_child_that_frees_its_copies_says_nothing_to_any_server() {
    let cluster = Cluster::start(3);
    let handle = connect(&cluster);
    let key = resource("free");
    let mut lease = Some(lock(&handle, &key));
    assert!(wait_for(Duration::from_secs(5), || cluster.holding(&key) == 3));
    let mut copy = Some(handle.clone());
    let code = in_a_child(|| {
        drop(lease.take());
        drop(copy.take());
        0
    });
    assert_eq!(code, 0);
    thread::sleep(Duration::from_millis(100));
    assert_eq!(cluster.holding(&key), 3);
    lease.take().expect("the parent's").unlock().expect("the parent goes on");
}

#[test]
fn a_child_forked_while_others_wait_answers_at_once() {
    let cluster = Cluster::start(3);
    let (holder, handle) = (connect(&cluster), connect(&cluster));
    let key = resource("waiters");
    let lease = lock(&holder, &key);
    let waiting: Vec<_> = (0..4).map(|_| wait_in_thread(&handle, &key)).collect();
    thread::sleep(Duration::from_millis(100));
    // Some of these forks happen while another thread is inside the handle.
    for _ in 0..20 {
        let code = in_a_child(|| forked([handle.lock(&request("x", 0)).err(), handle.stats().err()]));
        assert_eq!(code, 2);
    }
    lease.unlock().expect("ours");
    for waiting in waiting {
        waiting.join().expect("no panic").expect("its turn");
    }
    assert_gone(&cluster, &key);
}

#[test]
fn a_child_makes_a_handle_of_its_own_with_tokens_of_its_own() {
    let cluster = Cluster::start(3);
    let handle = connect(&cluster);
    let urls = cluster.urls();
    let key = resource("child");
    let lease = lock(&handle, &key);
    let child_key = resource("child's");
    let code = in_a_child(|| {
        let Ok(own) = Redlock::new(&urls, &options()) else { return 1 };
        match own.lock(&request(&key, 0)) {
            Err(error) if error.status == Status::NotAcquired => {}
            _ => return 2,
        }
        let wanted = LockRequest { resource: child_key.as_bytes().to_vec(), ..request("", 0) };
        match own.lock(&wanted) {
            Ok(_) => 0,
            Err(_) => 3,
        }
    });
    assert_eq!(code, 0);
    let theirs = cluster.iter().find_map(|node| node.get(&child_key)).expect("locked by the child");
    assert_ne!(theirs, lease.token());
    lease.unlock().expect("ours");
}

/// The child's duplicates of the descriptors must not keep the parent's connections open.
#[test]
fn a_living_child_does_not_keep_the_parents_connections_open() {
    let cluster = Cluster::start(3);
    let handle = connect(&cluster);
    lock(&handle, "living").unlock().expect("ours");
    // SAFETY: the child only sleeps until it is killed, or for 20 s.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0);
    if pid == 0 {
        // SAFETY: both are async-signal-safe.
        unsafe {
            libc::sleep(20);
            libc::_exit(0);
        }
    }
    handle.end();
    let is_closed = wait_for(Duration::from_secs(5), || cluster.iter().all(|node| node.client_list().is_empty()));
    // SAFETY: the child made above, which nobody has waited for yet.
    unsafe {
        libc::kill(pid, libc::SIGKILL);
        libc::waitpid(pid, std::ptr::null_mut(), 0);
    }
    assert!(is_closed, "{:?}", cluster[0].client_list());
}

#[test]
fn broken_connections_raise_no_sigpipe() {
    // SAFETY: back to the default action, which Rust's runtime had replaced; it would end this process.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    let cluster = Cluster::start(3);
    let proxies: Vec<Proxy> = cluster.iter().map(|node| Proxy::to(node.port())).collect();
    let urls: Vec<String> = proxies.iter().map(Proxy::url).collect();
    let handle = connect_with(&urls, &options());
    for _ in 0..20 {
        let lease = lock(&handle, "pipe");
        proxies.iter().for_each(Proxy::reset_all);
        let _ = lease.unlock();
        let _ = lease.extend(TTL_MS);
        assert!(wait_for(Duration::from_secs(10), || up_count(&handle) == 3 && pending_releases(&handle) == 0));
    }
    cluster.iter().for_each(crate::support::Node::kill);
    let error = handle.lock(&request("pipe", 0)).expect_err("nobody is there");
    assert_eq!(error.status, Status::NoQuorum, "{error}");
}

/// The leader of a busy handle hardly ever sleeps, and a follower's sleep is short: one signal falls between two of them.
#[test]
fn one_signal_is_enough_while_others_keep_the_handle_busy() {
    install_handlers();
    let cluster = Cluster::start(3);
    let (holder, handle) = (connect(&cluster), connect(&cluster));
    let held = lock(&holder, "held");
    let is_over = std::sync::atomic::AtomicBool::new(false);
    thread::scope(|scope| {
        for number in 0..3 {
            let (handle, is_over) = (&handle, &is_over);
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    lock(handle, &format!("busy-{number}")).unlock().expect("ours");
                }
            });
        }
        for round in 0..50 {
            let waiting = wait_in_thread(&handle, "held");
            thread::sleep(Duration::from_millis(5) + Duration::from_micros(137 * round));
            send(&waiting, libc::SIGUSR2);
            assert!(wait_for(Duration::from_secs(5), || waiting.is_finished()), "round {round}");
            assert_interrupted(waiting);
        }
        is_over.store(true, Ordering::Relaxed);
    });
    held.unlock().expect("ours");
}
