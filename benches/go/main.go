// The Go package against the C library, redsync and rueidislock, on the same servers in interleaved rounds. Started by
// `make bench-go`. Each round of each contestant is a process of its own, so that its threads can be counted.
//
//	bench-go [-rounds 7] [-seconds 1] [-c in_c]
package main

import (
	"cmp"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

type scenario struct {
	name, title       string
	goroutines, locks int
	hold              time.Duration
}

var scenarios = []scenario{
	{"one", "1 goroutine, a lock of its own", 1, 1, 0},
	{"many", "64 goroutines, each a lock of its own", 64, 64, 0},
	{"waiters", "1000 goroutines, 100 locks, held for 5 ms", 1000, 100, 5 * time.Millisecond},
}

func main() {
	log.SetFlags(0)
	rounds := flag.Int("rounds", 7, "rounds of each contestant")
	seconds := flag.Float64("seconds", 1, "length of a round")
	inC := flag.String("c", "", "the program benches/peers/in_c.c, for the C library")
	only := flag.String("scenario", "", "one, many or waiters")
	play := flag.String("play", "", "contestant/scenario: one round in this process")
	flag.Parse()
	if *play != "" {
		who, where, _ := strings.Cut(*play, "/")
		for _, c := range contestants {
			for _, s := range scenarios {
				if c.name == who && s.name == where {
					fmt.Println(round(c, s, *seconds))
				}
			}
		}
		return
	}
	for _, s := range scenarios {
		if *only == "" || *only == s.name {
			compare(s, *rounds, *seconds, *inC)
		}
	}
}

// figures of one round.
type figures struct {
	pairs, p50, p99 float64 // pairs of lock and unlock per second; microseconds for a pair
	cpu             float64 // microseconds of this process per pair
	threads         int
}

func (f figures) String() string {
	return fmt.Sprintf("%.1f\t%.1f\t%.1f\t%.1f\t%d", f.pairs, f.p50, f.p99, f.cpu, f.threads)
}

// round runs the goroutines of a scenario for some seconds.
func round(c contestant, s scenario, seconds float64) figures {
	urls := strings.Split(os.Getenv("REDLOCK_NODES"), ",")
	newLock, err := c.open(urls)
	if err != nil {
		log.Fatal(c.name, ": ", err)
	}
	samples := make([][]time.Duration, s.goroutines)
	begin, warm := make(chan struct{}), sync.WaitGroup{}
	var end time.Time
	var all sync.WaitGroup
	for i := range s.goroutines {
		lock := newLock(fmt.Sprintf("bench/%s/%s/%04d", c.name, s.name, i%s.locks))
		pair := func() {
			unlock, err := lock()
			if err == nil {
				if s.hold > 0 {
					time.Sleep(s.hold)
				}
				err = unlock()
			}
			if err != nil {
				log.Fatal(c.name, ": ", err)
			}
		}
		warm.Add(1)
		all.Add(1)
		go func() {
			defer all.Done()
			for range max(20/s.goroutines, 1) {
				pair()
			}
			warm.Done()
			<-begin
			for now := time.Now(); now.Before(end); {
				pair()
				after := time.Now()
				samples[i] = append(samples[i], after.Sub(now))
				now = after
			}
		}()
	}
	warm.Wait()
	began, cpu := time.Now(), cpuTime()
	end = began.Add(time.Duration(seconds * float64(time.Second)))
	close(begin)
	stop := make(chan struct{})
	most := make(chan int)
	go func() {
		threads := 0
		for {
			threads = max(threads, countThreads())
			select {
			case <-stop:
				most <- threads
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	all.Wait()
	took := time.Since(began)
	cpu = cpuTime() - cpu
	close(stop)
	sorted := slices.Concat(samples...)
	slices.Sort(sorted)
	us := func(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
	return figures{float64(len(sorted)) / took.Seconds(), us(sorted[len(sorted)/2]), us(sorted[(len(sorted)-1)*99/100]),
		us(cpu) / float64(len(sorted)), <-most}
}

// compare plays all contestants of a scenario in turn and prints a table.
func compare(s scenario, rounds int, seconds float64, inC string) {
	var names []string
	if inC != "" && s.hold == 0 {
		names = append(names, "C library")
	}
	for _, c := range contestants {
		names = append(names, c.name)
	}
	all := map[string][]figures{}
	for range rounds {
		for _, name := range names {
			all[name] = append(all[name], played(name, s, seconds, inC))
		}
	}
	fmt.Printf("\n%s; medians of %d rounds of %g s\n\n", s.title, rounds, seconds)
	fmt.Println("| | pairs/s | p50 | p99 | client CPU per pair | threads | p50 to the C library's |")
	fmt.Println("|---|---|---|---|---|---|---|")
	for _, name := range names {
		of := func(one func(figures) float64) float64 {
			var values []float64
			for _, f := range all[name] {
				values = append(values, one(f))
			}
			return quantile(values, 0.5)
		}
		ratio := ""
		if reference := all["C library"]; reference != nil && name != "C library" {
			var ratios []float64
			for i, f := range all[name] {
				ratios = append(ratios, f.p50/reference[i].p50)
			}
			ratio = fmt.Sprintf("%.2f [%.2f .. %.2f]", quantile(ratios, 0.5), quantile(ratios, 0.25), quantile(ratios, 0.75))
		}
		unknown := func(text string) string {
			if name == "C library" {
				return ""
			}
			return text
		}
		fmt.Printf("| %s | %.0f | %s | %s | %s | %s | %s |\n", name, of(func(f figures) float64 { return f.pairs }),
			duration(of(func(f figures) float64 { return f.p50 })), duration(of(func(f figures) float64 { return f.p99 })),
			unknown(duration(of(func(f figures) float64 { return f.cpu }))),
			unknown(fmt.Sprint(of(func(f figures) float64 { return float64(f.threads) }))), ratio)
	}
}

func duration(us float64) string {
	if us >= 10_000 {
		return fmt.Sprintf("%.0f ms", us/1000)
	}
	return fmt.Sprintf("%.0f µs", us)
}

// played is one round in a process of its own.
func played(name string, s scenario, seconds float64, inC string) figures {
	command := exec.Command(os.Args[0], "-play", name+"/"+s.name, "-seconds", fmt.Sprint(seconds))
	if name == "C library" {
		command = exec.Command(inC, "library", strconv.Itoa(s.goroutines))
		command.Env = append(os.Environ(), fmt.Sprint("PEER_SECONDS=", seconds))
	}
	command.Stderr = os.Stderr
	output, err := command.Output()
	if err != nil {
		log.Fatal(name, ": ", err)
	}
	fields := strings.Split(strings.TrimSpace(string(output)), "\t")
	if name == "C library" {
		fields = fields[1:] // its name
	}
	var f figures
	for i, into := range []*float64{&f.pairs, &f.p50, &f.p99, &f.cpu} {
		if i < len(fields) {
			*into, err = strconv.ParseFloat(fields[i], 64)
		}
		if err != nil {
			log.Fatal(name, ": ", err)
		}
	}
	if len(fields) > 4 {
		f.threads, _ = strconv.Atoi(fields[4])
	}
	return f
}

func quantile[T cmp.Ordered](values []T, part float64) T {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[int(float64(len(sorted)-1)*part+0.5)]
}
