/* SPDX-License-Identifier: MIT */
/* BUG and WARN reach the thread's handler with the place and the object, and a BUG never returns. */
#include <string.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmocka_all.h"

#include <pagesim/bug.h>

struct caught {
	jmp_buf back;
	struct ps_bug bug;
	int reports;
};

static void catch (void *arg, const struct ps_bug *bug)
{
	struct caught *c = arg;

	c->bug = *bug;
	c->reports++;
	if (bug->kind == PS_BUG)
		longjmp(c->back, 1);
}

static int setup(void **state)
{
	static struct caught c;

	memset(&c, 0, sizeof(c));
	ps_bug_set_handler((struct ps_bug_handler){ catch, &c });
	*state = &c;
	return 0;
}

static int teardown(void **state)
{
	ps_bug_set_handler((struct ps_bug_handler){ NULL, NULL });
	return 0;
}

static void a_bug_tells_expression_place_and_object(void **state)
{
	struct caught *c = *state;
	int page = 0;
	volatile int line = 0;

	BUG_ON(page);
	VM_BUG_ON(page);
	assert_int_equal(c->reports, 0);
	if (!setjmp(c->back)) {
		line = __LINE__ + 1;
		VM_BUG_ON_PAGE(page == 0, &page);
		fail_msg("a BUG returned");
	}
	assert_int_equal(c->bug.kind, PS_BUG);
	assert_string_equal(c->bug.expr, "page == 0");
	assert_non_null(strstr(c->bug.file, "test_bug.c"));
	assert_int_equal(c->bug.line, line);
	assert_ptr_equal(c->bug.object, &page);
	if (!setjmp(c->back)) {
		BUG();
		fail_msg("a BUG returned");
	}
	assert_int_equal(c->reports, 2);
}

static void a_warning_has_the_value_of_its_condition(void **state)
{
	struct caught *c = *state;
	int i;

	assert_false(WARN_ON(1 == 2));
	assert_int_equal(c->reports, 0);
	assert_true(WARN_ON(1 == 1));
	assert_int_equal(c->bug.kind, PS_WARN);
	/* No memory in the macro: each one is reported, and marked for who wants only the first. */
	for (i = 0; i < 3; i++)
		assert_true(WARN_ON_ONCE(i >= 0));
	assert_int_equal(c->reports, 4);
	assert_int_equal(c->bug.kind, PS_WARN_ONCE);
	VM_WARN_ON(true);
	VM_WARN_ON_ONCE(false);
	assert_int_equal(c->reports, 5);
}

static void ignore(void *arg, const struct ps_bug *bug)
{
}

/* Expect SIGABRT from a child: with a handler that returns, and with none. */
static void a_bug_that_nobody_catches_aborts(void **state)
{
	int handler;

	for (handler = 0; handler < 2; handler++) {
		pid_t pid = fork();
		int status;

		assert_true(pid >= 0);
		if (!pid) {
			/* The message of the C library is not this test's output. */
			if (!freopen("/dev/null", "w", stderr))
				_exit(3);
			signal(SIGABRT, SIG_DFL);
			ps_bug_set_handler((struct ps_bug_handler){ handler ? ignore : NULL, NULL });
			if (handler == 0)
				assert_true(WARN_ON(handler == 0)); /* silent without a handler */
			BUG_ON(handler < 2);
			_exit(0);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	}
}

static void handlers_nest(void **state)
{
	struct ps_bug_handler mine = ps_bug_get_handler(), old;

	assert_ptr_equal(mine.fn, catch);
	old = ps_bug_set_handler((struct ps_bug_handler){ ignore, NULL });
	assert_ptr_equal(old.fn, catch);
	assert_ptr_equal(old.arg, *state);
	assert_ptr_equal(ps_bug_set_handler(old).fn, ignore);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_bug_tells_expression_place_and_object, setup, teardown),
		cmocka_unit_test_setup_teardown(a_warning_has_the_value_of_its_condition, setup, teardown),
		cmocka_unit_test_setup_teardown(a_bug_that_nobody_catches_aborts, setup, teardown),
		cmocka_unit_test_setup_teardown(handlers_nest, setup, teardown),
	};

	return cmocka_run_group_tests_name("bug", tests, NULL, NULL);
}
