
# Copyright (C) ngx_http_klaviyo_module contributors

# make            builds build/ngx_http_klaviyo_module.so for Debian's nginx
# make NGX_SRC=PATH  the same for an unpacked nginx of nginx.org
# make install    copies it to MODULESDIR, klaviyo-deadletters and klaviyo-explain
#                 to BINDIR, below DESTDIR
# make deps       installs the Debian packages that are missing
# make test       deps, the style, then t/*.t: unit tests, fuzz targets, nginx
# make unit       the unit tests alone (ASan, UBSan)
# make fuzz       the fuzz targets alone, for longer (FUZZ_TIME=10, FUZZ_NAMES=)
# make test-sanitize  t/*.t with nginx and the module under ASan and UBSan
# make soak       faults at random under load; DURATION= seconds (180), SEED=
# make demo       a shopper's visit, as Klaviyo sees it
# make bench      the benchmarks; PARTS= some of them, QUICK=1 fewer rounds
# make deb        the Debian package, in build/deb
# make clean      removes build/
#
# make test TESTS="t/standin.t" PROVE_FLAGS=-v runs only that, with all lines.

SHELL =			/bin/bash
.SHELLFLAGS =		-ec
.DELETE_ON_ERROR:

MODULE =		ngx_http_klaviyo_module
MODULESDIR =		/usr/lib/nginx/modules
BINDIR =		/usr/bin
DESTDIR =

NGX_DEV =		/usr/share/nginx/src
NGX_SRC =

CC =			cc
JOBS :=			$(shell nproc 2>/dev/null || echo 2)
# make V=1 shows the commands
V =			0
Q =			$(if $(filter 0,$(V)),@)
LOG =			$(if $(filter 0,$(V)),> /dev/null)

# as many jobs as processors, unless make was told how many
MAKE_JOBS =		$(MAKE) --no-print-directory \
			$(if $(findstring jobserver,$(MAKEFLAGS)),,-j$(JOBS))

BUILD :=		$(CURDIR)/build
SO =			$(BUILD)/$(MODULE).so

SRCS :=			$(sort $(shell find $(MODULE) -name '*.c'))
HDRS :=			$(sort $(shell find $(MODULE) -name '*.h'))

TESTS =			t/*.t
PROVE_FLAGS =

DURATION =		180
SEED =

PARTS =
QUICK =


# nginx's own flags contain -W -Wall -Werror

CC_OPT =		-g -O2 -fstack-protector-strong -Wformat \
			-Werror=format-security -fPIC -D_FORTIFY_SOURCE=2
LD_OPT =		-Wl,-z,relro -Wl,-z,now -fPIC


.PHONY:	all modules install deps check-deps unit unit-build fuzz fuzz-build
.PHONY:	test test-sanitize sanitize-build style soak demo bench deb clean

all:	modules


# The module.  nginx's makefile knows what to compile again; it is written anew
# when the list of files, our settings or the nginx that we build for change.
# configure writes a Makefile where it runs: that is a folder of links of ours.

ifeq ($(NGX_SRC),)
TREE_FROM =		$(NGX_DEV)
TREE =			$(BUILD)/tree
OBJS =			$(BUILD)/objs
NGX_FLAGS =		. $(NGX_DEV)/conf_flags
else
TREE_FROM =		$(abspath $(NGX_SRC))
TREE =			$(BUILD)/tree-$(notdir $(TREE_FROM))
OBJS =			$(BUILD)/objs-$(notdir $(TREE_FROM))
NGX_FLAGS =		NGX_CONF_FLAGS=(--with-compat)
endif

CONFIGURE =		$$([ -x configure ] && echo ./configure \
			   || echo auto/configure) "$${NGX_CONF_FLAGS[@]}"

VERSION :=		$(shell dpkg-query -W -f '$${Version} ' nginx \
				nginx-dev 2> /dev/null)
SETTINGS =		$(VERSION) $(CC) $(CC_OPT) $(LD_OPT) $(SRCS) $(HDRS)

modules:	check-deps $(OBJS)/Makefile
	@echo "making $(notdir $(SO))"
	+$(Q)$(MAKE_JOBS) -C $(TREE) -f $(OBJS)/Makefile modules $(LOG)
	@cmp -s $(OBJS)/$(MODULE).so $(SO) \
	 || install -m 644 $(OBJS)/$(MODULE).so $(SO)

$(OBJS)/Makefile:	config $(BUILD)/settings | check-deps
	@echo "configuring for $(TREE_FROM)"
	$(Q)rm -rf $(TREE) $@
	$(Q)mkdir -p $(TREE) $(OBJS)
	$(Q)ln -s $(TREE_FROM)/* $(TREE)
	$(Q)rm -f $(TREE)/Makefile $(TREE)/objs
	$(Q)$(NGX_FLAGS); cd $(TREE); $(CONFIGURE) --with-cc="$(CC)" \
		--with-cc-opt="$(CC_OPT)" --with-ld-opt="$(LD_OPT)" \
		--add-dynamic-module=$(CURDIR) --builddir=$(OBJS) \
		> $(OBJS)/configure.log \
	|| { tail -n 1 $(OBJS)/configure.log; exit 1; }

$(BUILD)/settings:	FORCE
	@mkdir -p $(BUILD)
	@echo '$(SETTINGS)' | cmp -s - $@ || echo '$(SETTINGS)' > $@

# what the source for the unit tests is chosen by
$(BUILD)/version:	FORCE
	@mkdir -p $(BUILD)
	@echo '$(VERSION)' | cmp -s - $@ || echo '$(VERSION)' > $@

FORCE:

check-deps:
	@NGX_SRC=$(NGX_SRC) CC="$(CC)" util/deps check build

deps:
	@NGX_SRC=$(NGX_SRC) CC="$(CC)" util/deps install test

install:	modules
	install -d $(DESTDIR)$(MODULESDIR)
	install -m 644 $(SO) $(DESTDIR)$(MODULESDIR)/$(MODULE).so
	install -d $(DESTDIR)$(BINDIR)
	install -m 755 util/klaviyo-deadletters util/klaviyo-explain \
		$(DESTDIR)$(BINDIR)


# The unit tests: each t/unit/NAME_test.c with what it needs of the module and
# of nginx, both from archives, so that a test names no objects.  nginx comes
# from the source of the installed version; each ngx_palloc() is a malloc() of
# its own there, so that AddressSanitizer sees where it ends.

UNIT =			$(BUILD)/unit
UNIT_SRCS =		$(SRCS)
UNIT_TESTS :=		$(sort $(wildcard t/unit/*_test.c))
UNIT_BINS =		$(UNIT_TESTS:t/unit/%.c=$(UNIT)/%)
UNIT_OBJS =		$(UNIT_SRCS:%.c=$(UNIT)/%.o)
UNIT_HELPERS :=		$(filter-out $(UNIT_TESTS),$(wildcard t/unit/*.c))
UNIT_HELPER_OBJS =	$(UNIT_HELPERS:t/unit/%.c=$(UNIT)/%.o)

NGINX =			$(BUILD)/nginx-source/nginx
NGINX_OBJS =		$(BUILD)/nginx-asan
MODULE_ASAN =		$(BUILD)/module-asan

ASAN =			-fsanitize=address -fno-omit-frame-pointer
UBSAN =			-fsanitize=undefined -fno-sanitize-recover=undefined

# what nginx does on purpose: loads of several bytes from any address, memcpy()
# of nothing from NULL, buffers that move, bytes shifted into the sign
NGINX_UBSAN =		$(UBSAN) \
		-fno-sanitize=alignment,nonnull-attribute,pointer-overflow,shift

UNIT_INCS =		$(addprefix -I ,$(sort $(dir $(SRCS) $(HDRS)))) \
			$(addprefix -I $(NGINX)/src/,core event event/modules \
				event/quic os/unix http http/modules http/v2 \
				http/v3) \
			-I $(NGINX_OBJS) -I t/unit
# newer versions of cmocka compare char, nginx's texts are u_char
UNIT_CFLAGS =		-g -O1 $(ASAN) $(UBSAN) -W -Wall -Wpointer-arith \
			-Wno-unused-parameter -Wno-pointer-sign -Werror \
			-DNGX_DEBUG_PALLOC=1 -MMD -MP

# as the module's own configuration finds it
BROTLI :=		$(shell echo '\#include <brotli/encode.h>' \
				| $(CC) -E -o /dev/null - 2> /dev/null && echo 1)
UNIT_CFLAGS +=		$(if $(BROTLI),-DNGX_HTTP_KLAVIYO_BROTLI=1)

UNIT_LIBS =		$(if $(BROTLI),-lbrotlidec -lbrotlienc) -lcmocka \
			-lcurl -ljansson -lpcre2-8 -lssl -lcrypto -lz \
			-lcrypt -lpthread -ldl

unit:	unit-build
	@prove -I t/lib t/unit.t

unit-build:	check-deps $(UNIT_BINS)

# nginx's headers come first
$(UNIT_BINS) $(UNIT_OBJS) $(UNIT_HELPER_OBJS):	| $(UNIT)/libnginx.a

# muldefs: a test may put a function of its own in the place of nginx's
$(UNIT)/%_test:	t/unit/%_test.c $(UNIT_HELPER_OBJS) $(UNIT)/libklaviyo.a \
		$(UNIT)/libnginx.a
	@echo "  LD $(notdir $@)"
	$(Q)$(CC) $(UNIT_CFLAGS) $(UNIT_INCS) -o $@ $< $(UNIT_HELPER_OBJS) \
		-Wl,-z,muldefs $(UNIT)/libklaviyo.a $(UNIT)/libnginx.a \
		$(UNIT_LIBS)

$(UNIT)/%.o:	t/unit/%.c
	@mkdir -p $(@D)
	@echo "  CC $<"
	$(Q)$(CC) $(UNIT_CFLAGS) $(UNIT_INCS) -c -o $@ $<

$(UNIT)/libklaviyo.a:	$(UNIT_OBJS)
	$(Q)rm -f $@
	$(Q)$(AR) rcs $@ $^

$(UNIT)/$(MODULE)/%.o:	$(MODULE)/%.c
	@mkdir -p $(@D)
	@echo "  CC $<"
	$(Q)$(CC) $(UNIT_CFLAGS) $(UNIT_INCS) -c -o $@ $<

# main() is the test's
$(UNIT)/libnginx.a:	$(NGINX_OBJS)/nginx
	@mkdir -p $(@D)
	$(Q)rm -f $@
	$(Q)objcopy --redefine-sym main=nginx_main $(NGINX_OBJS)/src/core/nginx.o \
		$(UNIT)/nginx.o
	$(Q)$(AR) rcs $@ $(UNIT)/nginx.o $(NGINX_OBJS)/ngx_modules.o \
		$$(find $(NGINX_OBJS)/src -name '*.o' ! -path '*/core/nginx.o')

# the probes of configure leak by design
$(NGINX_OBJS)/nginx:	$(NGINX)/.stamp
	@echo "making nginx with sanitizers"
	$(Q)mkdir -p $(NGINX_OBJS)
	$(Q)export ASAN_OPTIONS=detect_leaks=0; \
	. $(NGX_DEV)/conf_flags; cd $(NGINX); $(CONFIGURE) --with-cc="$(CC)" \
		--with-cc-opt="-g -O1 $(ASAN) $(NGINX_UBSAN) \
			-DNGX_DEBUG_PALLOC=1" \
		--with-ld-opt="$(ASAN) $(UBSAN)" --with-http_sub_module \
		--builddir=$(NGINX_OBJS) \
		> $(NGINX_OBJS)/configure.log
	+$(Q)$(MAKE_JOBS) -C $(NGINX) -f $(NGINX_OBJS)/Makefile binary $(LOG)

$(NGINX)/.stamp:	$(BUILD)/version util/nginx-source
	@echo "fetching the source of nginx"
	$(Q)util/nginx-source $(BUILD)/nginx-source
	$(Q)touch $@

-include $(wildcard $(UNIT)/*.d) $(UNIT_OBJS:.o=.d)


# The fuzz targets: each t/fuzz/NAME_fuzz.c with the module, compiled by clang
# for libFuzzer, and the same nginx as the unit tests have: gcc's and clang's
# sanitizers have one interface.

FUZZ =			$(BUILD)/fuzz
FUZZ_TARGETS :=		$(sort $(wildcard t/fuzz/*_fuzz.c))
FUZZ_BINS =		$(FUZZ_TARGETS:t/fuzz/%.c=$(FUZZ)/%)
FUZZ_OBJS =		$(UNIT_SRCS:%.c=$(FUZZ)/%.o)
FUZZ_HELPER_OBJS =	$(FUZZ)/fuzz.o $(FUZZ)/unit.o

CLANG =			clang
# clang minds NULL + 0, which nginx makes of each empty string
FUZZ_CFLAGS =		$(UNIT_CFLAGS) -fsanitize=fuzzer-no-link \
			-fno-sanitize=pointer-overflow
FUZZ_INCS =		$(UNIT_INCS) -I t/fuzz

fuzz:	fuzz-build
	@util/fuzz $(FUZZ_NAMES)

fuzz-build:	check-deps $(FUZZ_BINS)

$(FUZZ_BINS) $(FUZZ_OBJS) $(FUZZ_HELPER_OBJS):	| $(UNIT)/libnginx.a

$(FUZZ)/%_fuzz:	t/fuzz/%_fuzz.c $(FUZZ_HELPER_OBJS) $(FUZZ)/libklaviyo.a \
		$(UNIT)/libnginx.a
	@echo "  LD $(notdir $@)"
	$(Q)$(CLANG) $(FUZZ_CFLAGS) $(FUZZ_INCS) -fsanitize=fuzzer -o $@ $< \
		$(FUZZ_HELPER_OBJS) -Wl,-z,muldefs $(FUZZ)/libklaviyo.a \
		$(UNIT)/libnginx.a $(UNIT_LIBS)

$(FUZZ)/fuzz.o:	t/fuzz/fuzz.c
	@mkdir -p $(@D)
	@echo "  CC $<"
	$(Q)$(CLANG) $(FUZZ_CFLAGS) $(FUZZ_INCS) -c -o $@ $<

$(FUZZ)/unit.o:	t/unit/unit.c
	@mkdir -p $(@D)
	@echo "  CC $<"
	$(Q)$(CLANG) $(FUZZ_CFLAGS) $(FUZZ_INCS) -c -o $@ $<

$(FUZZ)/libklaviyo.a:	$(FUZZ_OBJS)
	$(Q)rm -f $@
	$(Q)$(AR) rcs $@ $^

$(FUZZ)/$(MODULE)/%.o:	$(MODULE)/%.c
	@mkdir -p $(@D)
	@echo "  CC $<"
	$(Q)$(CLANG) $(FUZZ_CFLAGS) $(FUZZ_INCS) -c -o $@ $<

-include $(wildcard $(FUZZ)/*.d) $(FUZZ_OBJS:.o=.d)


# The tests

test:	deps
	+@$(MAKE_JOBS) style
	+@$(MAKE_JOBS) modules unit-build fuzz-build
	@util/test $(PROVE_FLAGS) $(TESTS)

# The whole suite again: nginx and the module with ASan and UBSan, each
# ngx_palloc() a malloc() of its own, and no leak when a process ends.  What a
# process has to say is in a file of its own, and each such file is an error.
#
# Left out: what has sanitizers already (unit, fuzz); what runs no code of ours
# (standin, harness) or only what others run, too (demo, deb); and what ends
# processes by SIGKILL at random times (soak, lifecycle_kill), which takes long
# and leaves nobody to look for leaks: crash, killed and stubborn do the same
# one by one.
SANITIZE_NOT =		unit fuzz standin harness demo deb soak lifecycle_kill

test-sanitize:	sanitize-build
	@TEST_NGINX_BINARY=$(NGINX_OBJS)/nginx \
	TEST_NGINX_MODULE=$(MODULE_ASAN)/$(MODULE).so \
	util/sanitize $(PROVE_FLAGS) \
		$(filter-out $(SANITIZE_NOT:%=t/%.t),$(wildcard $(TESTS)))

sanitize-build:	check-deps $(MODULE_ASAN)/Makefile
	@echo "making $(MODULE).so with sanitizers"
	+$(Q)$(MAKE_JOBS) -C $(NGINX) -f $(MODULE_ASAN)/Makefile modules $(LOG)

$(MODULE_ASAN)/Makefile:	config $(BUILD)/settings $(NGINX_OBJS)/nginx
	$(Q)mkdir -p $(MODULE_ASAN)
	$(Q)export ASAN_OPTIONS=detect_leaks=0; \
	. $(NGX_DEV)/conf_flags; cd $(NGINX); $(CONFIGURE) --with-cc="$(CC)" \
		--with-cc-opt="-g -O1 $(ASAN) $(UBSAN) -DNGX_DEBUG_PALLOC=1" \
		--with-ld-opt="$(ASAN) $(UBSAN) -Wl,-z,nodelete" \
		--add-dynamic-module=$(CURDIR) --builddir=$(MODULE_ASAN) \
		> $(MODULE_ASAN)/configure.log

# a failing one tells its seed, which makes the same faults again
soak:	deps
	+@$(MAKE_JOBS) modules
	@KLAVIYO_SOAK_SECONDS=$(DURATION) KLAVIYO_SOAK_SEED=$(SEED) \
	prove -v -I t/lib t/soak.t < /dev/null

style:
	@util/style $(MODULE) t/unit t/fuzz


# the module comes after "deps", also with make -j
demo:	deps
	+@$(MAKE_JOBS) modules
	@util/demo

# nginx's source has the lock that the ring is measured with
bench:	deps
	+@$(MAKE_JOBS) modules $(NGINX)/.stamp
	@PARTS="$(PARTS)" QUICK=$(QUICK) bench/run

deb:	deps
	@util/deb

clean:
	rm -rf $(BUILD)
