# Every tests/c/test_*.c is a cmocka program of its own, built beside the library it is linked to.
C_TESTS := $(patsubst tests/c/%.c,$(TARGET)/tests-c/%,$(wildcard tests/c/test_*.c))
C_SUPPORT := $(wildcard tests/c/support/*.c)

.PHONY: c-tests c-tests-asan
c-tests: build $(C_TESTS)
c-tests-asan: $(C_TESTS:$(TARGET)/tests-c/%=$(TARGET)/tests-asan/%)

$(TARGET)/tests-c/%: tests/c/%.c $(C_SUPPORT) $(wildcard tests/c/support/*.h) $(RELEASE)/libredlock.so
	@mkdir -p $(@D)
	$(CC) -std=gnu11 $(CFLAGS) $(WARNINGS) -Iinclude -Itests/c $< $(C_SUPPORT) $(LINK) -lcmocka -o $@

# rustc takes -Zsanitizer on a stable toolchain only if told that unstable options are meant. The library leaves the
# sanitizer's run time to the program, whose own compiler brings it. The flags must not reach build scripts, hence --target.
ASAN_HOST = $(shell rustc -vV 2>&1 | sed -n 's/^host: //p')
ASAN_LIBRARY = $(TARGET)/$(ASAN_HOST)/asan
.PHONY: asan-library
asan-library:
	RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address \
		$(CARGO) build --quiet --lib --profile asan --no-default-features --target $(ASAN_HOST)
	@ln -sf libredlock.so $(ASAN_LIBRARY)/libredlock.so.$(SOVERSION)

$(TARGET)/tests-asan/%: tests/c/%.c $(C_SUPPORT) $(wildcard tests/c/support/*.h) asan-library
	@mkdir -p $(@D)
	$(CC) -std=gnu11 $(CFLAGS) -fsanitize=address -fno-omit-frame-pointer $(WARNINGS) -Iinclude -Itests/c $< $(C_SUPPORT) \
		-L$(ASAN_LIBRARY) -lredlock -Wl,-rpath,$(ASAN_LIBRARY) -pthread -lcmocka -o $@

$(TARGET)/tests-interop/holder: tests/interop/holder.c $(RELEASE)/libredlock.so
	@mkdir -p $(@D)
	$(CC) -std=gnu11 $(CFLAGS) $(WARNINGS) -Iinclude $< $(LINK) -o $@

# Every system call fails once (tests/torture/).
TORTURE := $(TARGET)/tests-torture
.PHONY: torture torture-programs
torture-programs: build $(TORTURE)/shim.so $(TORTURE)/torture

$(TORTURE)/shim.so: tests/torture/shim.c tests/torture/shim.h
	@mkdir -p $(@D)
	$(CC) -std=gnu11 $(CFLAGS) $(filter-out -pedantic -Wpedantic,$(WARNINGS)) -fPIC -shared $< -ldl -o $@

$(TORTURE)/torture: tests/torture/torture.c tests/torture/shim.h $(C_SUPPORT) $(wildcard tests/c/support/*.h) $(RELEASE)/libredlock.so $(TORTURE)/shim.so
	@mkdir -p $(@D)
	$(CC) -std=gnu11 $(CFLAGS) $(filter-out -pedantic -Wpedantic,$(WARNINGS)) -Iinclude -Itests/c $< $(C_SUPPORT) $(LINK) -L$(TORTURE) -l:shim.so -Wl,-rpath,$(TORTURE) -lcmocka -o $@

torture: torture-programs ## every system call of the library, and every allocation, fails once
	@tests/torture/run $(TORTURE) && tests/torture/run $(TORTURE) --allocations
