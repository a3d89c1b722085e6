/* SPDX-License-Identifier: MIT */
/* Scripts as tests, in child processes, and made smaller; see run.h. */
#include "run.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <glib.h>

#include <pagesim/alloc.h>
#include <pagesim/bug.h>
#include <pagesim/machine_file.h>
#include <pagesim/mem.h>
#include <pagesim/page_alloc.h>
#include <pagesim/script.h>
#include <pagesim/task.h>
#include <pagesim/trace_text.h>
#include <pagesim/vmstat.h>
#include <pagesim/world.h>

#include "shadow.h"

/* Seconds one script may take. */
#define PATIENCE 120

/* Who is to hear of a BUG before the process ends: the parent's pipe. */
static int report_to = -1;

struct script_run {
	const struct random_run *run;
	const struct ps_script *script;
	struct ps_script_settings *settings;
	struct random_outcome *outcome;
	struct shadow *shadow;
	GString *printed; /* by the statement */
	u32 next;         /* index of the statement that runs next */
	u64 failed_before;
	bool ended; /* by a failure that leaves the rest of the script without a meaning */
};

static void G_GNUC_PRINTF(3, 4) fails(struct random_outcome *outcome, const char *kind, const char *format, ...)
{
	va_list args;

	if (outcome->failed)
		return;
	outcome->failed = true;
	g_strlcpy(outcome->kind, kind, sizeof(outcome->kind));
	va_start(args, format);
	vsnprintf(outcome->text, sizeof(outcome->text), format, args);
	va_end(args);
}

static void hear_bug(void *arg, const struct ps_bug *bug)
{
	struct script_run *r = arg;
	char kind[sizeof(r->outcome->kind)];
	const char *file = strrchr(bug->file, '/');

	snprintf(kind, sizeof(kind), "%s %s:%d", bug->kind == PS_BUG ? "BUG" : "WARN", file ? file + 1 : bug->file,
		 bug->line);
	fails(r->outcome, kind, "%s: %s%s%s", kind, bug->expr, bug->detail ? ": " : "", bug->detail ? bug->detail : "");
	if (bug->kind != PS_BUG)
		return;
	if (report_to >= 0 && write(report_to, r->outcome, sizeof(*r->outcome)) > 0)
		_exit(1);
	fprintf(stderr, "%s\n", r->outcome->text);
	abort();
}

static void print(void *arg, const char *text, size_t length)
{
	struct script_run *r = arg;

	g_string_append_len(r->printed, text, (gssize)length);
}

static bool out_of_memory(const struct script_run *r)
{
	return strstr(r->printed->str, "\n  = -ENOMEM") != NULL;
}

/* At the end nobody is left: what is still allocated is in files. */
static void expect_empty(struct script_run *r, struct ps_world *world)
{
	long cached = 0, allocated;
	nid_t nid;

	ps_task_enter(world->boot);
	drain_all_pages(NULL);
	for_each_node_mask(nid, world->machine->memory_nodes) cached += (long)node_page_state(nid, NR_FILE_PAGES);
	allocated = (long)ps_mem_allocated_pages(world->machine);
	ps_task_leave();
	if (allocated != cached)
		fails(r->outcome, "pages left", "%ld pages are allocated though all tasks are gone; files have %ld",
		      allocated, cached);
}

static bool after(void *arg, struct ps_world *world, u32 line)
{
	struct script_run *r = arg;
	const struct ps_statement *st = &r->script->statements[r->next++];
	struct ps_alloc_counts counts;
	char *complaint = NULL;

	r->outcome->line = line;
	ps_alloc_counts(&counts);
	if (r->run->fail_nth)
		r->settings->check = counts.failed != r->failed_before;
	else
		complaint = shadow_step(r->shadow, st, r->printed->str);
	if (complaint)
		fails(r->outcome, "programs see it", "%s", complaint);
	g_free(complaint);
	/* Names that a failed statement was to make are used later. */
	if (out_of_memory(r) && (st->verb == PS_VERB_FORK || st->verb == PS_VERB_THREAD || st->verb == PS_VERB_MMAP))
		r->ended = true;
	g_string_truncate(r->printed, 0);
	if (r->next == r->script->n && !r->run->fail_nth && st->verb == PS_VERB_KERNEL_DROP_CACHES)
		expect_empty(r, world);
	return !r->outcome->failed && !r->ended;
}

static const char *machine_of(const struct ps_script *script)
{
	u32 i;

	for (i = 0; i < script->n; i++)
		if (script->statements[i].verb == PS_VERB_MACHINE)
			return script->statements[i].name;
	return "linux-6.1";
}

static void judge_error(struct script_run *r, const char *message)
{
	const char *invariant = strstr(message, "invariant I");
	bool memory = strstr(message, "out of memory") != NULL;
	char kind[sizeof(r->outcome->kind)];

	if (invariant) {
		snprintf(kind, sizeof(kind), "invariant I%d", atoi(invariant + strlen("invariant I")));
		fails(r->outcome, kind, "%s", message);
	} else if (!(memory && (r->run->tight || r->run->fail_nth))) {
		/* FILE:LINE: is no kind. */
		const char *words = strstr(message, ": ");

		snprintf(kind, sizeof(kind), "error%s", memory ? ": out of memory" : words ? words : message);
		fails(r->outcome, kind, "%s", message);
	}
}

void random_run_here(const char *text, const struct random_run *run, struct random_outcome *ret)
{
	struct ps_script *script = ps_script_parse(text, strlen(text), "script");
	struct ps_machine_spec *spec = ps_machine_spec_load(machine_of(script), NULL, NULL);
	struct script_run r = { .run = run, .script = script, .outcome = ret };
	struct ps_script_settings settings = {
		.generation = run->generation, .check = !run->fail_nth, .print = print, .after = after, .arg = &r
	};
	struct ps_bug_handler old = ps_bug_set_handler((struct ps_bug_handler){ hear_bug, &r });
	struct ps_alloc_counts before, behind;
	GError *error = NULL;

	memset(ret, 0, sizeof(*ret));
	g_assert(spec);
	r.settings = &settings;
	r.printed = g_string_new(NULL);
	r.shadow = shadow_new(1ULL << (spec->pt_bits ? spec->pt_bits : 9));
	ps_alloc_counts(&before);
	r.failed_before = before.failed;
	ps_alloc_fail_nth(run->fail_nth);
	if (!ps_script_run(script, spec, &settings, &error))
		judge_error(&r, error->message);
	ret->all_served = ps_alloc_fail_nth(0);
	ps_alloc_counts(&behind);
	if (behind.live != before.live)
		fails(ret, "host memory left", "%ld blocks of host memory are left", (long)(behind.live - before.live));
	g_clear_error(&error);
	shadow_free(r.shadow);
	g_string_free(r.printed, TRUE);
	ps_machine_spec_free(spec);
	ps_script_free(script);
	ps_bug_set_handler(old);
}

/* ---- children */

struct message {
	u64 number;
	bool done; /* else: begun */
	struct random_outcome outcome;
};

static void died(struct random_outcome *outcome, int status)
{
	memset(outcome, 0, sizeof(*outcome));
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
		fails(outcome, "hangs", "takes longer than %d s", PATIENCE);
	else if (WIFSIGNALED(status))
		fails(outcome, strsignal(WTERMSIG(status)), "killed by signal %d (%s)", WTERMSIG(status),
		      strsignal(WTERMSIG(status)));
	else
		fails(outcome, "process ended", "the process ended with status %d; see what it printed",
		      WEXITSTATUS(status));
}

static bool read_all(int fd, void *buffer, size_t size)
{
	size_t have = 0;

	while (have < size) {
		ssize_t n = read(fd, (char *)buffer + have, size - have);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		have += (size_t)n;
	}
	return true;
}

bool random_run(const char *text, const struct random_run *run, struct random_outcome *ret)
{
	int pipes[2], status;
	pid_t child;
	bool heard;

	g_assert(pipe(pipes) == 0);
	fflush(NULL);
	child = fork();
	g_assert(child >= 0);
	if (!child) {
		close(pipes[0]);
		report_to = pipes[1];
		alarm(PATIENCE);
		random_run_here(text, run, ret);
		_exit(write(pipes[1], ret, sizeof(*ret)) != sizeof(*ret));
	}
	close(pipes[1]);
	heard = read_all(pipes[0], ret, sizeof(*ret));
	close(pipes[0]);
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	if (!heard)
		died(ret, status);
	return !ret->failed;
}

/* The child's side: a message when a script begins, its outcome when it has ended (or when a BUG ends it: hear_bug()). */
static void run_some(int fd, u64 first, u64 last, char *(*make)(void *arg, u64 number, struct random_run *ret_run),
		     void *arg)
{
	u64 number;

	report_to = fd;
	for (number = first; number <= last; number++) {
		struct random_run run = { 0 };
		struct random_outcome outcome;
		char *text;

		if (write(fd, &number, sizeof(number)) != sizeof(number))
			_exit(2);
		alarm(PATIENCE);
		text = make(arg, number, &run);
		random_run_here(text, &run, &outcome);
		g_free(text);
		if (write(fd, &outcome, sizeof(outcome)) != sizeof(outcome))
			_exit(2);
	}
	_exit(0);
}

void random_run_many(u64 first, u64 last, char *(*make)(void *arg, u64 number, struct random_run *ret_run),
		     random_heard_fn heard, void *arg)
{
	while (first <= last) {
		u64 until = ps_min(last, first + 199), number;
		struct random_outcome outcome;
		int pipes[2], status;
		pid_t child;
		bool begun = false;

		g_assert(pipe(pipes) == 0);
		fflush(NULL);
		child = fork();
		g_assert(child >= 0);
		if (!child) {
			close(pipes[0]);
			run_some(pipes[1], first, until, make, arg);
		}
		close(pipes[1]);
		while (read_all(pipes[0], &number, sizeof(number))) {
			begun = true;
			first = number + 1;
			if (!read_all(pipes[0], &outcome, sizeof(outcome)))
				break;
			begun = false;
			heard(arg, number, &outcome);
		}
		close(pipes[0]);
		while (waitpid(child, &status, 0) < 0 && errno == EINTR)
			;
		if (begun) {
			died(&outcome, status);
			heard(arg, number, &outcome);
		} else if (first <= until && !(WIFEXITED(status) && WEXITSTATUS(status) == 1)) {
			/* Between two scripts: not one's fault, and not to be passed over. */
			died(&outcome, status);
			heard(arg, first++, &outcome);
		}
	}
}

/* ---- smaller */

static char *join_without(char **lines, const bool *keep, unsigned int n)
{
	GString *text = g_string_new(NULL);
	unsigned int i;

	for (i = 0; i < n; i++)
		if (keep[i])
			g_string_append_printf(text, "%s\n", lines[i]);
	return g_string_free(text, FALSE);
}

/* Does it fail the same way? When it is an allocation that fails, any of them may be the one: lines left out shift them. */
static bool fails_alike(const char *text, const struct random_run *run, const char *kind, u64 *ret_nth)
{
	struct random_run now = *run;
	struct random_outcome outcome;

	for (now.fail_nth = run->fail_nth ? 1 : 0;; now.fail_nth++) {
		if (!random_run(text, &now, &outcome) && !strcmp(outcome.kind, kind)) {
			*ret_nth = now.fail_nth;
			return true;
		}
		if (!now.fail_nth || outcome.all_served || outcome.failed)
			return false;
	}
}

char *random_shrink(const char *text, struct random_run *run, const struct random_outcome *outcome,
		    unsigned int *ret_runs)
{
	char **lines = g_strsplit(text, "\n", -1), *result;
	unsigned int n = g_strv_length(lines), chunk, i, runs = 0;
	bool *keep = g_new0(bool, n), *trial = g_new0(bool, n);
	bool smaller = true;

	/* The empty line behind the last newline; and what never ran. */
	for (i = 0; i < n; i++)
		keep[i] = *lines[i] != '\0' && (!outcome->line || run->fail_nth || i <= outcome->line + 1);
	for (chunk = n / 2; chunk && runs < 4000; chunk = smaller && chunk == 1 ? 1 : chunk / 2) {
		smaller = false;
		for (i = 0; i < n && runs < 4000; i += chunk) {
			unsigned int k, dropped = 0;
			char *smaller_text;

			memcpy(trial, keep, n * sizeof(bool));
			for (k = i; k < i + chunk && k < n; k++) {
				dropped += trial[k];
				trial[k] = false;
			}
			if (!dropped)
				continue;
			smaller_text = join_without(lines, trial, n);
			runs++;
			if (fails_alike(smaller_text, run, outcome->kind, &run->fail_nth)) {
				memcpy(keep, trial, n * sizeof(bool));
				smaller = true;
			}
			g_free(smaller_text);
		}
	}
	result = join_without(lines, keep, n);
	*ret_runs = runs;
	g_free(keep);
	g_free(trial);
	g_strfreev(lines);
	return result;
}
