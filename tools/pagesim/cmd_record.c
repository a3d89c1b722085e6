/* SPDX-License-Identifier: MIT */
/*
 * pagesim record: run a program under valgrind and keep what it does to memory. The program has the terminal, so this command says
 * nothing while it runs but a line of progress on a terminal, which it takes away again.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <pagesim/trace_record.h>

#include "cmd.h"

struct progress {
	bool shown;
};

static void show_progress(void *arg, const struct ps_lackey_counts *c)
{
	struct progress *p = arg;

	fprintf(stderr, "\rpagesim: recording, %" PRIu64 " million instructions, %" PRIu64 " million accesses",
		c->fetches / 1000000, (c->loads + c->stores + 2 * c->modifies) / 1000000);
	p->shown = true;
}

static void clear_progress(const struct progress *p)
{
	if (p->shown)
		fputs("\r\033[K", stderr);
}

/* The command as it could be typed into a shell. */
static char *command_line(char **argv)
{
	GString *s = g_string_new(NULL);

	for (char **a = argv; *a; a++) {
		char *quoted = g_shell_quote(*a);
		bool plain =
			**a &&
			!(*a)[strspn(*a, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./-")];

		if (a != argv)
			g_string_append_c(s, ' ');
		g_string_append(s, plain ? *a : quoted);
		g_free(quoted);
	}
	return g_string_free(s, false);
}

static int record(char **argv, const char *out, gboolean fetches, int fold, bool *ret_kept)
{
	const struct ps_trace_info info = { .source = "lackey",
					    .created_by = "pagesim " PAGESIM_VERSION,
					    .clock = PS_CLOCK_INSTRUCTIONS };
	const struct ps_trace_writer_settings writer_settings = { .fold = (u32)fold };
	struct ps_lackey_settings lackey_settings = { .fetches = fetches };
	struct progress progress = { false };
	struct ps_record_settings settings = { .argv = argv };
	struct ps_trace_writer *w = NULL;
	struct ps_lackey *lackey;
	GError *error = NULL, *finish_error = NULL;
	int fd = open(out, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	int status = 0;
	char *command;
	bool ok;

	*ret_kept = false;
	if (fd < 0)
		return cmd_fail("%s: cannot create: %s", out, g_strerror(errno));
	w = ps_trace_writer_new(fd, out, &info, &writer_settings, &error);
	if (!w) {
		status = cmd_fail("%s", error->message);
		goto out_close;
	}
	if (isatty(STDERR_FILENO)) {
		settings.progress = show_progress;
		settings.arg = &progress;
	}
	/* An interrupt is meant for the program; when it ends, so do we, with a trace of what it did. */
	signal(SIGINT, SIG_IGN);
	signal(SIGQUIT, SIG_IGN);
	command = command_line(argv);
	lackey_settings.command = command;
	lackey = ps_lackey_new(w, &lackey_settings);
	g_free(command);
	if (!lackey) {
		status = cmd_fail("%s: out of memory", out);
		goto out_close;
	}
	ok = ps_record(lackey, &settings, &status, &error);
	ps_lackey_finish(lackey);
	clear_progress(&progress);
	*ret_kept = ps_lackey_counts(lackey)->lines > 0;
	if (!ps_trace_writer_finish(w, &finish_error) && ok) {
		ok = false;
		g_propagate_error(&error, finish_error);
		finish_error = NULL;
	}
	g_clear_error(&finish_error);
	ps_lackey_free(lackey);
	if (!ok)
		status = cmd_fail("%s", error->message);
	else if (!*ret_kept)
		cmd_warn("nothing was recorded: '%s' could not be run under valgrind", argv[0]);
out_close:
	g_clear_error(&error);
	ps_trace_writer_free(w);
	if (close(fd) && status == CMD_OK)
		status = cmd_fail("%s: cannot write: %s", out, g_strerror(errno));
	return status;
}

/*
 * Where the trace grows: beside @out, whose name it gets at the end, so that a program that cannot be run does not cost the
 * recording of before. Return: to be freed; @out itself when that is a pipe or a device.
 */
static char *growing_name(const char *out)
{
	struct stat there;

	return !stat(out, &there) && !S_ISREG(there.st_mode) ? g_strdup(out) : g_strconcat(out, ".part", NULL);
}

/* The recording is over. Return: @status, or what went wrong. */
static int settle(const char *growing, const char *out, bool kept, int status)
{
	if (!strcmp(growing, out))
		return status;
	if (!kept)
		unlink(growing);
	else if (rename(growing, out))
		return cmd_fail("%s: cannot rename to %s: %s", growing, out, g_strerror(errno));
	return status;
}

int cmd_record(int argc, char **argv)
{
	gboolean fetches = FALSE;
	char *out = NULL, *growing;
	gint fold = 0;
	const GOptionEntry entries[] = {
		{ "output", 'o', 0, G_OPTION_ARG_FILENAME, &out, "Where to write the trace (default: PROGRAM.pgt)",
		  "OUT.pgt" },
		{ "fetches", 0, 0, G_OPTION_ARG_NONE, &fetches, "Record instruction fetches as accesses too", NULL },
		{ "fold", 0, 0, G_OPTION_ARG_INT, &fold, "Fold an access into one of the last N records (default 1)",
		  "N" },
		{ 0 },
	};
	bool kept;
	int status;

	if (!cmd_parse(&argc, &argv, entries, "-- PROGRAM [ARGUMENTS...]",
		       "Runs PROGRAM under valgrind (about a hundred times slower than by itself) and writes its "
		       "memory accesses and the\n"
		       "system calls that concern memory and files. Processes it starts are recorded with it. The exit "
		       "status is the\n"
		       "program's.",
		       &status))
		return status;
	if (argc < 2)
		return cmd_misused("expected -- PROGRAM [ARGUMENTS...]");
	if (fold < 0 || fold > 64)
		return cmd_misused("--fold is 1 to 64, not %d", fold);
	if (!out) {
		char *base = g_path_get_basename(argv[1]);

		out = g_strconcat(base, ".pgt", NULL);
		g_free(base);
	}
	growing = growing_name(out);
	status = record(argv + 1, growing, fetches, fold, &kept);
	status = settle(growing, out, kept, status);
	g_free(growing);
	g_free(out);
	return status;
}
