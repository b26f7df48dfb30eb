module github.com/libredlock/libredlock/bindings/go

go 1.24
