package redlock_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libredlock/libredlock/bindings/go"
)

func nodes() []string {
	list := os.Getenv("REDLOCK_TEST_NODES")
	if list == "" {
		panic("run by `make test-go`, or by tools/servers: REDLOCK_TEST_NODES is not set")
	}
	return strings.Split(list, ",")
}

func client(t testing.TB, options ...redlock.Option) *redlock.Client {
	t.Helper()
	c, err := redlock.New(nodes(), options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.WaitReady(context.Background()); err != nil {
		t.Fatal(err)
	}
	return c
}

func lock(t testing.TB, c *redlock.Client, name string, options ...redlock.LockOption) *redlock.Lease {
	t.Helper()
	lease, err := c.Lock(context.Background(), name, options...)
	if err != nil {
		t.Fatal(err)
	}
	return lease
}

// command sends a command to every server and returns the first line of each answer.
func command(t testing.TB, words ...string) (answers []string) {
	t.Helper()
	for _, url := range nodes() {
		conn, err := net.Dial("tcp", strings.TrimPrefix(url, "redis://"))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "%s\r\n", strings.Join(words, " "))
		line, err := bufio.NewReader(conn).ReadString('\n')
		conn.Close()
		if err != nil {
			t.Fatal(err)
		}
		answers = append(answers, strings.TrimSpace(line))
	}
	return answers
}

func is(t testing.TB, err error, targets ...error) {
	t.Helper()
	for _, target := range targets {
		if !errors.Is(err, target) {
			t.Fatalf("%v is not %v", err, target)
		}
	}
}

func TestALockExcludesOthersUntilItsUnlock(t *testing.T) {
	c := client(t)
	lease := lock(t, c, t.Name(), redlock.WithFence())
	if lease.Remaining() <= 9*time.Second || lease.Token() == "" || lease.Fence() == 0 || lease.Until().IsZero() {
		t.Fatal(lease.Remaining(), lease.Token(), lease.Fence())
	}
	_, err := c.TryLock(context.Background(), t.Name())
	is(t, err, redlock.ErrNotAcquired)
	var details *redlock.Error
	if !errors.As(err, &details) || len(details.Nodes) != 5 || errors.Is(err, redlock.ErrCanceled) {
		t.Fatalf("%#v", err)
	}
	in, err := c.Inspect(context.Background(), t.Name())
	if err != nil || !in.Held || in.Token != lease.Token() {
		t.Fatal(in, err)
	}
	if err := lease.Extend(context.Background(), 20*time.Second); err != nil || lease.Remaining() < 15*time.Second {
		t.Fatal(err, lease.Remaining())
	}
	if err := lease.Unlock(); err != nil {
		t.Fatal(err)
	}
	if context.Cause(lease.Context()) != redlock.ErrReleased {
		t.Fatal(context.Cause(lease.Context()))
	}
	is(t, lease.Unlock(), redlock.ErrLost)
	next := lock(t, c, t.Name(), redlock.WithFence())
	if next.Fence() <= lease.Fence() {
		t.Fatal("fences do not grow")
	}
	if err := c.UnlockToken(context.Background(), t.Name(), next.Token()); err != nil {
		t.Fatal(err)
	}
	if stats, err := c.Stats(); err != nil || stats.Acquired < 2 || len(stats.Nodes) != 5 {
		t.Fatal(stats, err)
	}
	_ = next.Unlock()
}

func TestTheEndOfAContextIsNotARefusal(t *testing.T) {
	c := client(t)
	lease := lock(t, c, t.Name())
	defer lease.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(30*time.Millisecond, cancel)
	_, err := c.Lock(ctx, t.Name())
	is(t, err, context.Canceled, redlock.ErrCanceled)
	if errors.Is(err, redlock.ErrNotAcquired) {
		t.Fatal(err)
	}
	ctx, cancel = context.WithTimeout(context.Background(), 30*time.Millisecond)
	defer cancel()
	_, err = c.Lock(ctx, t.Name())
	is(t, err, context.DeadlineExceeded, redlock.ErrCanceled)
}

func TestCancelledLocksLeaveNoKey(t *testing.T) {
	c := client(t)
	var all sync.WaitGroup
	for i := range 300 {
		all.Add(1)
		go func() {
			defer all.Done()
			ctx, cancel := context.WithTimeout(context.Background(), time.Duration(i*10)*time.Microsecond)
			defer cancel()
			if lease, err := c.Lock(ctx, fmt.Sprint("storm-", i%50)); err == nil {
				_ = lease.Unlock()
			}
		}()
	}
	all.Wait()
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		left := 0
		for _, answer := range command(t, "KEYS", "storm-*") {
			if answer != "*0" {
				left++
			}
		}
		if left == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("keys are left on ", left, " nodes")
		}
	}
}

func TestADeletedKeyEndsTheContext(t *testing.T) {
	c := client(t)
	lease := lock(t, c, t.Name())
	time.Sleep(50 * time.Millisecond)
	command(t, "DEL", t.Name())
	select {
	case <-lease.Done():
	case <-time.After(5 * time.Second): // half of its time to live
		t.Fatal("not told")
	}
	if context.Cause(lease.Context()) != redlock.ErrLost {
		t.Fatal(context.Cause(lease.Context()))
	}
	is(t, lease.Unlock(), redlock.ErrLost)
}

func TestCloseEndsWaits(t *testing.T) {
	c, other := client(t), client(t)
	lease := lock(t, other, t.Name())
	defer lease.Unlock()
	failures := make(chan error)
	for range 100 {
		go func() {
			_, err := c.Lock(context.Background(), t.Name())
			failures <- err
		}()
	}
	time.Sleep(20 * time.Millisecond)
	c.Close()
	for range 100 {
		is(t, <-failures, redlock.ErrClosed)
	}
}

func TestShutdownReleases(t *testing.T) {
	c, other := client(t), client(t)
	lease := lock(t, c, t.Name())
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := c.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	<-lease.Done()
	is(t, lease.Unlock(), redlock.ErrClosed)
	_ = lock(t, other, t.Name(), redlock.WithWait(time.Second)).Unlock()
}

func TestTenThousandWaitersNeedNoThreads(t *testing.T) {
	c := client(t)
	lease := lock(t, c, t.Name(), redlock.WithTTL(time.Minute))
	defer lease.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for range 10_000 {
		all.Add(1)
		go func() { defer all.Done(); _, _ = c.Lock(ctx, t.Name()) }()
	}
	time.Sleep(500 * time.Millisecond)
	if n := pprof.Lookup("threadcreate").Count(); n > 100 {
		t.Error(n, "threads")
	}
	cancel()
	all.Wait()
}

type lockedBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.String()
}

func TestALeakIsLoggedAndNotReleased(t *testing.T) {
	var log lockedBuffer
	c := client(t, redlock.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
	func() { lock(t, c, t.Name()) }()
	for i := 0; i < 200 && !strings.Contains(log.String(), t.Name()); i++ {
		runtime.GC()
		time.Sleep(10 * time.Millisecond)
	}
	if !strings.Contains(log.String(), t.Name()) {
		t.Fatal("not logged")
	}
	_, err := c.TryLock(context.Background(), t.Name())
	is(t, err, redlock.ErrNotAcquired)
}

func TestDoReturnsWhatItsFunctionReturns(t *testing.T) {
	c, mine := client(t), errors.New("mine")
	err := c.Do(context.Background(), t.Name(), func(ctx context.Context) error { return mine })
	is(t, err, mine)
	_, err = c.TryLock(context.Background(), "")
	is(t, err, redlock.ErrInvalid)
	_, err = redlock.New([]string{"nonsense"})
	is(t, err, redlock.ErrConfig)
}

func ExampleClient_Do() {
	c, err := redlock.New(nodes())
	if err != nil {
		panic(err)
	}
	defer c.Close()
	err = c.Do(context.Background(), "example/report", func(ctx context.Context) error {
		fmt.Println("alone")
		return ctx.Err()
	})
	fmt.Println(err)
	// Output:
	// alone
	// <nil>
}

func BenchmarkLockUnlock(b *testing.B) {
	c := client(b)
	for b.Loop() {
		_ = lock(b, c, "benchmark").Unlock()
	}
}

// 64 goroutines, each with a lock of its own.
func BenchmarkLockUnlock64(b *testing.B) {
	c := client(b)
	var next atomic.Int32
	b.SetParallelism((64 + runtime.GOMAXPROCS(0) - 1) / runtime.GOMAXPROCS(0))
	b.RunParallel(func(pb *testing.PB) {
		name := fmt.Sprint("benchmark-", next.Add(1))
		for pb.Next() {
			_ = lock(b, c, name).Unlock()
		}
	})
}

// 1000 goroutines want 100 locks. The number of threads that the process has ever started is reported.
func BenchmarkWaiters(b *testing.B) {
	c := client(b)
	var next atomic.Int32
	b.SetParallelism((1000 + runtime.GOMAXPROCS(0) - 1) / runtime.GOMAXPROCS(0))
	b.RunParallel(func(pb *testing.PB) {
		name := fmt.Sprint("benchmark-", next.Add(1)%100)
		for pb.Next() {
			_ = lock(b, c, name).Unlock()
		}
	})
	b.ReportMetric(float64(pprof.Lookup("threadcreate").Count()), "threads")
}
