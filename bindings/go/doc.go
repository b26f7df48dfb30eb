// Package redlock takes distributed locks over N independent Redis masters, with libredlock.
//
//	client, err := redlock.New([]string{"redis://10.0.0.1", "redis://10.0.0.2", "redis://10.0.0.3"})
//	...
//	err = client.Do(ctx, "orders/42", func(ctx context.Context) error { return ship(ctx, 42) })
//
// A lock is a lease: it is ours until a moment that the library computes on this machine's clock. [Lease.Context] ends
// at that moment, or as soon as the lock is found to be lost. A process that is stopped can still act late; only the
// resource itself can reject that, by a fencing token: [WithFence].
//
// A goroutine that waits costs no thread: one goroutine per client drives the library through Go's poller.
//
// The package needs Linux, cgo, Go 1.24, and libredlock, which pkg-config finds after `make install`. With the build tag
// redlock_static it links the static archive that the module of `make dist-go` carries, and needs nothing installed.
package redlock
