// redsync over go-redis: one goroutine, lock and unlock.
package main

import (
	"fmt"
	"log"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-redsync/redsync/v4"
	"github.com/go-redsync/redsync/v4/redis"
	"github.com/go-redsync/redsync/v4/redis/goredis/v9"
	goredislib "github.com/redis/go-redis/v9"
)

func main() {
	log.SetFlags(0)
	var pools []redis.Pool
	for _, url := range strings.Split(os.Getenv("REDLOCK_NODES"), ",") {
		options, err := goredislib.ParseURL(url)
		if err != nil {
			log.Fatal(err)
		}
		pools = append(pools, goredis.NewPool(goredislib.NewClient(options)))
	}
	seconds, err := strconv.ParseFloat(os.Getenv("PEER_SECONDS"), 64)
	if err != nil {
		log.Fatal("PEER_SECONDS: ", err)
	}
	sync := redsync.New(pools...)
	pair := func() {
		mutex := sync.NewMutex("bench/r/0000", redsync.WithExpiry(30*time.Second))
		if err := mutex.Lock(); err != nil {
			log.Fatal(err)
		}
		if ok, err := mutex.Unlock(); !ok {
			log.Fatal("unlock: ", err)
		}
	}
	for range 20 {
		pair()
	}

	var samples []time.Duration
	began := time.Now()
	now := began
	for end := began.Add(time.Duration(seconds * float64(time.Second))); now.Before(end); {
		pair()
		after := time.Now()
		samples = append(samples, after.Sub(now))
		now = after
	}
	slices.Sort(samples)
	us := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }
	fmt.Printf("redsync (Go)\t%.1f\t%.1f\t%.1f\n", float64(len(samples))/now.Sub(began).Seconds(),
		us(samples[len(samples)/2]), us(samples[(len(samples)-1)*99/100]))
}
