package main

import (
	"log"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// cpuTime is the user and system time of this process.
func cpuTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		log.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// countThreads is how many threads this process has now, as the kernel counts.
func countThreads() int {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		log.Fatal(err)
	}
	_, after, _ := strings.Cut(string(status), "Threads:")
	line, _, _ := strings.Cut(after, "\n")
	count, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		log.Fatal(err)
	}
	return count
}
