// Package interop plays redsync and its counterpart on libredlock against each other on real servers.
package interop

import (
	"errors"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	theirs "github.com/go-redsync/redsync/v4"
	"github.com/go-redsync/redsync/v4/redis"
	"github.com/go-redsync/redsync/v4/redis/goredis/v9"
	ours "github.com/libredlock/libredlock/bindings/go/redsync"
	goredis9 "github.com/redis/go-redis/v9"
)

func both(t *testing.T) (*ours.Redsync, *theirs.Redsync) {
	t.Helper()
	var mine []ours.Pool
	var others []redis.Pool
	for _, url := range strings.Split(os.Getenv("REDLOCK_NODES"), ",") {
		options, err := goredis9.ParseURL(url)
		if err != nil {
			t.Fatal(err)
		}
		mine = append(mine, ours.NewPool(url))
		others = append(others, goredis.NewPool(goredis9.NewClient(options)))
	}
	rs := ours.New(mine...)
	t.Cleanup(func() { rs.Close() })
	return rs, theirs.New(others...)
}

func TestEachExcludesTheOther(t *testing.T) {
	mine, others := both(t)
	a, b := mine.NewMutex(t.Name()), others.NewMutex(t.Name())
	if err := a.Lock(); err != nil {
		t.Fatal(err)
	}
	if err := b.TryLock(); err == nil {
		t.Fatal("redsync has the lock, too")
	}
	if ok, err := others.NewMutex(t.Name(), theirs.WithValue(a.Value())).Extend(); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if ok, err := others.NewMutex(t.Name(), theirs.WithValue(a.Value())).Unlock(); !ok || err != nil {
		t.Fatal("redsync cannot release it by its value: ", ok, err)
	}
	if err := b.Lock(); err != nil {
		t.Fatal(err)
	}
	var taken *ours.ErrTaken
	if err := a.TryLock(); !errors.As(err, &taken) {
		t.Fatal(err)
	}
	if ok, err := mine.NewMutex(t.Name(), ours.WithValue(b.Value())).Unlock(); !ok || err != nil {
		t.Fatal(ok, err)
	}
}

func TestTheyTakeTurns(t *testing.T) {
	mine, others := both(t)
	var group sync.WaitGroup
	inside := make(chan struct{}, 1)
	turn := func(lock func() error, unlock func() (bool, error)) {
		defer group.Done()
		for range 10 {
			if err := lock(); err != nil {
				t.Error(err)
				return
			}
			select {
			case inside <- struct{}{}:
			default:
				t.Error("two holders")
			}
			time.Sleep(time.Millisecond)
			<-inside
			if _, err := unlock(); err != nil {
				t.Error(err)
			}
		}
	}
	for range 3 {
		a := mine.NewMutex(t.Name(), ours.WithTries(1_000), ours.WithRetryDelay(10*time.Millisecond))
		b := others.NewMutex(t.Name(), theirs.WithTries(1_000), theirs.WithRetryDelay(10*time.Millisecond))
		group.Add(2)
		go turn(a.Lock, a.Unlock)
		go turn(b.Lock, b.Unlock)
	}
	group.Wait()
}
