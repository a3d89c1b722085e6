# SPDX-License-Identifier: MIT
# shellcheck shell=sh
# What tools/check, tools/dev and tools/quickstart share: configuring a build, building it, running its tests, and the tally.
# A script sets `root` and sources this file.
#
# Each way to build is one folder below build/, configured once and again only when its options change:
#
#   dev         gcc, optimised with debug information     tools/dev, quick tests
#   gcc         the same, a warning is an error           all tests
#   clang       clang, a warning is an error              built only
#   asan        AddressSanitizer and UBSan                all tests but style
#   tsan        ThreadSanitizer                           suite torture
#   bench       release                                   benchmarks
#   cov         gcc with coverage                         quick tests
#   quickstart  release                                   the CLI alone

builds=${root:?a script that sources this sets root}/build

# Totals over all steps, the table of steps and the list of failures.
passed=0
failed=0
skipped=0
steps=
failures=

# Tests run on what was built before.
no_rebuild=--no-rebuild

say() {
	printf '\n==> %s\n' "$*"
}

# fail_step NAME WHAT: something that is no test went wrong; it counts as one failure.
fail_step() {
	failed=$((failed + 1))
	failures="$failures
  $1: $2"
}

now() {
	date +%s
}

# note_step NAME SECONDS RESULT: one line of the summary's table.
note_step() {
	steps="$steps
$(printf '  %-12s %5s s   %s' "$1" "$2" "$3")"
}

# configure NAME COMPILER OPTION...: build/NAME, with this compiler, these options of meson, and no others.
configure() {
	_name=$1
	_cc=$2
	_dir=$builds/$1
	shift 2
	_said="$_cc $*"
	if [ -f "$_dir/build.ninja" ] && [ "$(cat "$_dir/configured" 2>/dev/null)" = "$_said" ]; then
		return 0
	fi
	rm -rf "$_dir"
	mkdir -p "$_dir"
	if ! CC=$_cc meson setup "$_dir" "$root" "$@" >"$_dir/setup.log" 2>&1; then
		cat "$_dir/setup.log" >&2
		result='cannot be configured'
		fail_step "$_name" "$result"
		return 1
	fi
	printf '%s\n' "$_said" >"$_dir/configured"
}

# build NAME [TARGET...]: silent when it works.
build() {
	_name=$1
	_dir=$builds/$1
	shift
	if ! ninja -C "$_dir" "$@" >"$_dir/build.log" 2>&1; then
		# What failed, without the hundreds of lines that worked.
		grep -v '^\[[0-9]*/[0-9]*\] ' "$_dir/build.log" | head -n 200 >&2
		result='does not build'
		fail_step "$_name" "$result (whole log: $_dir/build.log)"
		return 1
	fi
}

# run_tests NAME OPTION...: `meson test` of what is built, added to the totals. The whole log is in build/NAME/meson-logs/.
run_tests() {
	_name=$1
	_dir=$builds/$1
	shift
	rm -f "$_dir"/meson-logs/testlog.json
	_status=0
	# shellcheck disable=SC2086
	meson test -C "$_dir" $no_rebuild --print-errorlogs "$@" </dev/null || _status=$?
	_tally=$(python3 "$root/tools/tally.py" "$_dir/meson-logs/testlog.json") || {
		fail_step "$_name" "the tests left no log (meson test: exit status $_status)"
		return 1
	}
	# passed failed skipped, then the names of what failed
	_names=$(printf '%s\n' "$_tally" | tail -n +2)
	read -r _passed _failed _skipped <<-END
	$(printf '%s\n' "$_tally" | head -n 1)
	END
	passed=$((passed + _passed))
	failed=$((failed + _failed))
	skipped=$((skipped + _skipped))
	for _test in $_names; do
		failures="$failures
  $_name: $_test"
	done
	result="$_passed passed, $_failed failed, $_skipped skipped"
	if [ "$_failed" = 0 ] && [ "$_status" != 0 ]; then
		fail_step "$_name" "meson test: exit status $_status"
	fi
	[ "$_failed" = 0 ] && [ "$_status" = 0 ]
}

# step NAME TITLE [ARGUMENT...]: run step_NAME, note how long it took and what came out.
step() {
	say "$1: $2"
	_step=$1
	_start=$(now)
	shift 2
	result='done'
	_ok=0
	"step_$_step" "$_step" "$@" || _ok=1
	note_step "$_step" $(($(now) - _start)) "$result"
	return $_ok
}

# summary: the table of steps, what failed, and the totals as the last line, which CI reads.
summary() {
	say 'summary'
	printf '%s\n' "$steps" | sed 1d
	[ -z "$failures" ] || printf '\nFailed:%s\n' "$failures"
	printf '\n%s passed, %s failed, %s skipped\n' "$passed" "$failed" "$skipped"
	[ "$failed" = 0 ]
}

# The sanitizers stop at the first finding, so that a test fails. Fibers have stacks of their own, which the fake stacks of
# use-after-return detection do not know.
sanitizer_environment() {
	ASAN_OPTIONS=halt_on_error=1:abort_on_error=0:detect_stack_use_after_return=0:strict_string_checks=1
	UBSAN_OPTIONS=halt_on_error=1:abort_on_error=0:print_stacktrace=1
	TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1
	export ASAN_OPTIONS UBSAN_OPTIONS TSAN_OPTIONS
}

#
# The steps. Each is given its name, then the names of tests to confine it to, where it runs any.
#

step_dev() {
	configure "$1" gcc && build "$1" || return 1
	_dev=$1
	shift
	if [ $# -gt 0 ]; then
		run_tests "$_dev" "$@"
	else
		run_tests "$_dev" --no-suite slow --no-suite torture --no-suite fuzz
	fi
}

step_gcc() {
	configure "$1" gcc -Dwerror=true && build "$1" && run_tests "$1" --timeout-multiplier 3
}

step_clang() {
	configure "$1" clang -Dwerror=true && build "$1" && result='builds without a warning'
}

step_asan() {
	sanitizer_environment
	configure "$1" gcc -Db_sanitize=address,undefined -Db_lundef=false && build "$1" || return 1
	shift
	run_tests asan --no-suite style --timeout-multiplier 10 "$@"
}

step_tsan() {
	sanitizer_environment
	configure "$1" gcc -Db_sanitize=thread -Db_lundef=false || return 1
	if ! meson test -C "$builds/$1" --list 2>/dev/null | grep -q ':torture / '; then
		result='there is no test of suite torture'
		return 0
	fi
	shift
	# Most of the tree runs on fibers, which is nothing for this sanitizer: meson builds what these tests need.
	no_rebuild=
	_tsan=0
	run_tests tsan --suite torture --timeout-multiplier 10 "$@" || _tsan=1
	no_rebuild=--no-rebuild
	return $_tsan
}

step_bench() {
	configure "$1" gcc --buildtype=release && build "$1" || return 1
	shift
	# Benchmarks print what they measured: nothing else runs, and the output is shown.
	run_tests bench --benchmark --verbose --num-processes 1 "$@"
}

step_cov() {
	configure "$1" gcc -Db_coverage=true && build "$1" || return 1
	find "$builds/$1" -name '*.gcda' -exec rm -f {} +
	_cov=0
	run_tests "$1" --no-suite style || _cov=1
	mkdir -p "$builds/$1/coverage"
	gcovr --root "$root" --filter "$root/sim/" --filter "$root/include/" --filter "$root/tools/" \
		--exclude-unreachable-branches --exclude-throw-branches \
		--html-details "$builds/$1/coverage/index.html" --print-summary --txt "$builds/$1/coverage/table.txt" \
		"$builds/$1" || return 1
	result="$result; $(sed -n 's/^TOTAL *//p' "$builds/$1/coverage/table.txt" | awk '{print $3}') of the lines, see $builds/$1/coverage/index.html"
	return $_cov
}

step_docs() {
	configure dev gcc && build dev docs/pagesim.1 || return 1
	if python3 "$root/tools/check-docs"; then
		result="links, quotes and the man page are in order; $builds/dev/docs/pagesim.1"
	else
		result='see above'
		fail_step docs 'tools/check-docs has findings'
		return 1
	fi
}
