//go:build redlock_static

package capi

// -tags redlock_static: the header and the static archive that lie beside this file, where `make dist-go` puts them.

/*
#cgo CFLAGS: -I${SRCDIR}/static
#cgo LDFLAGS: ${SRCDIR}/static/libredlock.a -lpthread -ldl -lm
*/
import "C"
