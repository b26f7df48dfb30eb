# Every tests/c/test_*.c is a cmocka program of its own, built beside the library it is linked to.
C_TESTS := $(patsubst tests/c/%.c,$(TARGET)/tests-c/%,$(wildcard tests/c/test_*.c))
C_SUPPORT := $(wildcard tests/c/support/*.c)

.PHONY: c-tests
c-tests: build $(C_TESTS)

$(TARGET)/tests-c/%: tests/c/%.c $(C_SUPPORT) $(wildcard tests/c/support/*.h) $(RELEASE)/libredlock.so
	@mkdir -p $(@D)
	$(CC) -std=gnu11 $(CFLAGS) $(WARNINGS) -Iinclude -Itests/c $< $(C_SUPPORT) $(LINK) -lcmocka -o $@

$(TARGET)/tests-interop/holder: tests/interop/holder.c $(RELEASE)/libredlock.so
	@mkdir -p $(@D)
	$(CC) -std=gnu11 $(CFLAGS) $(WARNINGS) -Iinclude $< $(LINK) -o $@
