package redsync

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func pools(t *testing.T) []Pool {
	t.Helper()
	nodes := os.Getenv("REDLOCK_NODES")
	if nodes == "" {
		t.Fatal("REDLOCK_NODES names no servers: tools/servers run 5 -- go test ./...")
	}
	var all []Pool
	for _, url := range strings.Split(nodes, ",") {
		all = append(all, NewPool(url))
	}
	return all
}

func newRedsync(t *testing.T) *Redsync {
	rs := New(pools(t)...)
	t.Cleanup(func() { rs.Close() })
	return rs
}

func name(t *testing.T) string { return fmt.Sprintf("%s-%d", t.Name(), time.Now().UnixNano()) }

func TestMutexesExcludeEachOther(t *testing.T) {
	rs := newRedsync(t)
	key := name(t)
	var inside, turns atomic.Int32
	var group sync.WaitGroup
	for range 8 {
		group.Add(1)
		go func() {
			defer group.Done()
			mutex := rs.NewMutex(key, WithExpiry(20*time.Second), WithTries(1000))
			for range 10 {
				if err := mutex.Lock(); err != nil {
					t.Error(err)
					return
				}
				if inside.Add(1) != 1 {
					t.Error("two holders")
				}
				turns.Add(1)
				inside.Add(-1)
				if ok, err := mutex.Unlock(); !ok || err != nil {
					t.Errorf("%v, %v", ok, err)
				}
			}
		}()
	}
	group.Wait()
	if turns.Load() != 80 {
		t.Errorf("%d turns", turns.Load())
	}
}

func TestALockThatIsTakenSaysWhere(t *testing.T) {
	rs := newRedsync(t)
	holder, other := rs.NewMutex(name(t)), rs.NewMutex("")
	*other = *holder
	if err := holder.Lock(); err != nil {
		t.Fatal(err)
	}
	if len(holder.Value()) != 24 || !holder.Until().After(time.Now().Add(5*time.Second)) || holder.Until().After(time.Now().Add(8*time.Second)) {
		t.Errorf("%q until %v", holder.Value(), holder.Until())
	}
	err := other.TryLock()
	var taken *ErrTaken
	if !errors.As(err, &taken) || len(taken.Nodes) < 3 || !errors.Is(err, ErrFailed) {
		t.Errorf("%v", err)
	}
	if ok, err := holder.Valid(); !ok || err != nil {
		t.Errorf("%v, %v", ok, err)
	}
	if ok, err := other.Valid(); ok || err != nil {
		t.Errorf("%v, %v", ok, err)
	}
	// Another mutex with the value is the holder's equal.
	equal := rs.NewMutex(holder.Name(), WithValue(holder.Value()))
	if ok, err := equal.Extend(); !ok || err != nil {
		t.Errorf("%v, %v", ok, err)
	}
	if ok, err := equal.Unlock(); !ok || err != nil {
		t.Errorf("%v, %v", ok, err)
	}
	if ok, err := holder.Unlock(); ok || !errors.Is(err, ErrLockAlreadyExpired) {
		t.Errorf("%v, %v", ok, err)
	}
	if ok, err := holder.Extend(); ok || !errors.Is(err, ErrExtendFailed) {
		t.Errorf("%v, %v", ok, err)
	}
}

func TestAnExpiredLockIsTakenBackWhereAskedFor(t *testing.T) {
	rs := newRedsync(t)
	plain := rs.NewMutex(name(t), WithExpiry(200*time.Millisecond), WithTimeoutFactor(0.9))
	again := rs.NewMutex(name(t)+"-again", WithExpiry(200*time.Millisecond), WithTimeoutFactor(0.9), WithSetNXOnExtend())
	for _, mutex := range []*Mutex{plain, again} {
		if err := mutex.Lock(); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(400 * time.Millisecond)
	if ok, err := plain.Extend(); ok || err == nil {
		t.Errorf("%v, %v", ok, err)
	}
	if ok, err := again.Extend(); !ok || err != nil {
		t.Errorf("%v, %v", ok, err)
	}
}

func TestTriesAreWaitedForAndCostNothing(t *testing.T) {
	calls := 0
	mutex := New().NewMutex("delays", WithRetryDelayFunc(func(int) time.Duration { calls++; return time.Second }))
	if sum := mutex.wait(32); sum != 31*time.Second {
		t.Error(sum)
	}
	calls = 0
	if sum := mutex.wait(1_000_001); sum != 1_000_000*time.Second || calls > delaysAsked {
		t.Error(sum, calls)
	}
	if sum := mutex.wait(1 << 62); sum <= 1_000_000*time.Second {
		t.Error(sum)
	}
}

func TestAContextEndsAWait(t *testing.T) {
	rs := newRedsync(t)
	holder := rs.NewMutex(name(t), WithExpiry(30*time.Second))
	if err := holder.Lock(); err != nil {
		t.Fatal(err)
	}
	defer holder.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	err := rs.NewMutex(holder.Name(), WithTries(1_000_000)).LockContext(ctx)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

func TestDeadServersAreNamed(t *testing.T) {
	some := append([]Pool{NewPool("redis://127.0.0.1:1"), NewPool("redis://127.0.0.1:2")}, pools(t)...)
	minority := New(some[:5]...)
	defer minority.Close()
	mutex := minority.NewMutex(name(t))
	if err := mutex.Lock(); err != nil {
		t.Fatal(err)
	}
	mutex.Unlock()
	majority := New(some[:3]...)
	defer majority.Close()
	err := majority.NewMutex(name(t)).TryLock()
	var node *RedisError
	if !errors.Is(err, ErrFailed) || !errors.As(err, &node) {
		t.Errorf("%v", err)
	}
	if err := New().NewMutex("nowhere").Lock(); err == nil {
		t.Error("locked nothing")
	}
}
