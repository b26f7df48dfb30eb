package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/go-redsync/redsync/v4"
	redsyncredis "github.com/go-redsync/redsync/v4/redis"
	"github.com/go-redsync/redsync/v4/redis/goredis/v9"
	redlock "github.com/libredlock/libredlock/bindings/go"
	facade "github.com/libredlock/libredlock/bindings/go/redsync"
	goredislib "github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"
	"github.com/redis/rueidis/rueidislock"
)

const ttl = 30 * time.Second

// lockFunc waits for the lock with this name and returns what releases it. One goroutine at a time calls it.
type lockFunc func() (unlock func() error, err error)

// contestant makes one lockFunc per goroutine.
type contestant struct {
	name string
	open func(urls []string) (func(resource string) lockFunc, error)
}

var contestants = []contestant{
	{"redlock", openRedlock},
	{"redlock-redsync", openFacade},
	{"redsync", openRedsync},
	{"rueidislock", openRueidislock},
}

// What stays open as long as the process: a client that is collected without Close logs an error.
var open []any

func openRedlock(urls []string) (func(string) lockFunc, error) {
	client, err := redlock.New(urls)
	if err != nil {
		return nil, err
	}
	open = append(open, client)
	return func(resource string) lockFunc {
		return func() (func() error, error) {
			lease, err := client.Lock(context.Background(), resource, redlock.WithTTL(ttl))
			if err != nil {
				return nil, err
			}
			return lease.Unlock, nil
		}
	}, client.WaitReady(context.Background())
}

// Tries and delays of both are redsync's own, but nobody gives up.
const tries = 1_000_000

func openFacade(urls []string) (func(string) lockFunc, error) {
	var pools []facade.Pool
	for _, url := range urls {
		pools = append(pools, facade.NewPool(url))
	}
	rs := facade.New(pools...)
	open = append(open, rs)
	return func(resource string) lockFunc {
		mutex := rs.NewMutex(resource, facade.WithExpiry(ttl), facade.WithTries(tries))
		return func() (func() error, error) { return unlocker(mutex.Unlock), mutex.Lock() }
	}, nil
}

func openRedsync(urls []string) (func(string) lockFunc, error) {
	var pools []redsyncredis.Pool
	for _, url := range urls {
		options, err := goredislib.ParseURL(url)
		if err != nil {
			return nil, err
		}
		pools = append(pools, goredis.NewPool(goredislib.NewClient(options)))
	}
	rs := redsync.New(pools...)
	return func(resource string) lockFunc {
		mutex := rs.NewMutex(resource, redsync.WithExpiry(ttl), redsync.WithTries(tries))
		return func() (func() error, error) { return unlocker(mutex.Unlock), mutex.Lock() }
	}, nil
}

func unlocker(unlock func() (bool, error)) func() error {
	return func() error {
		if ok, err := unlock(); !ok {
			return errors.Join(errors.New("not unlocked"), err)
		}
		return nil
	}
}

// rueidislock speaks to a cluster or to one server; for each lock it sets a key per vote, `prefix:vote:name`. Here a client that
// sends the keys of vote i to server i lets it vote on independent servers, as the others do.
type perVote struct {
	rueidis.Client
	servers []rueidis.Client
}

const rueidisPrefix = "bench"

func (c perVote) Do(ctx context.Context, command rueidis.Completed) rueidis.RedisResult {
	for _, word := range command.Commands() {
		if rest, ok := strings.CutPrefix(word, rueidisPrefix+":"); ok {
			vote, _, _ := strings.Cut(rest, ":")
			if i, err := strconv.Atoi(vote); err == nil && i < len(c.servers) {
				return c.servers[i].Do(ctx, command)
			}
		}
	}
	panic(fmt.Sprint("rueidislock sends a command without a key: ", command.Commands()))
}

func openRueidislock(urls []string) (func(string) lockFunc, error) {
	locker, err := rueidislock.NewLocker(rueidislock.LockerOption{
		KeyPrefix:      rueidisPrefix,
		KeyValidity:    ttl,
		KeyMajority:    int32(len(urls)/2 + 1),
		NoLoopTracking: true,
		// Its default of 20 ms is too short for a thousand goroutines on two cores: locks would fail.
		TryNextAfter: 5 * time.Second,
		ClientOption: rueidis.ClientOption{InitAddress: []string{strings.TrimPrefix(urls[0], "redis://")}},
		ClientBuilder: func(option rueidis.ClientOption) (rueidis.Client, error) {
			var all []rueidis.Client
			for _, url := range urls {
				option.InitAddress = []string{strings.TrimPrefix(url, "redis://")}
				option.ForceSingleClient = true
				one, err := rueidis.NewClient(option)
				if err != nil {
					return nil, err
				}
				all = append(all, one)
			}
			return perVote{all[0], all}, nil
		},
	})
	if err != nil {
		return nil, err
	}
	return func(resource string) lockFunc {
		return func() (func() error, error) {
			_, cancel, err := locker.WithContext(context.Background(), resource)
			return func() error { cancel(); return nil }, err
		}
	}, nil
}
