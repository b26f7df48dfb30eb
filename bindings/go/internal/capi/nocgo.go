//go:build !cgo || !linux

package capi

// This file is compiled only where it cannot work, and its one line says why.
var _ = the_redlock_package_needs_Linux_and_cgo_with_CGO_ENABLED_1_and_a_C_compiler
