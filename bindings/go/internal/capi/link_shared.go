//go:build !redlock_static

package capi

// The default: the library that pkg-config finds, whose .pc file `make install` puts in place.

/*
#cgo pkg-config: redlock
*/
import "C"
