/* SPDX-License-Identifier: MIT */
/*
 * pagesim, the command line: finds the command, runs it, and sees to it that its output arrived. What the commands have in
 * common is in cmd.h; which ones there are, in commands.def.
 *
 * Numbers are printed in the C locale whatever the user's is (the same input gives the same bytes); only the character
 * set of the arguments is the user's.
 */
#include "cmd.h"

#include <errno.h>
#include <locale.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct command {
	const char *name;
	const char *summary;
	int (*run)(int argc, char **argv);
};

static const struct command commands[] = {
#define COMMAND(name, summary) { #name, summary, cmd_##name },
#include "commands.def"
#undef COMMAND
};

/* The command that runs, for messages; NULL before it is found. */
static const struct command *running;

/* More letters wrong than this, and a name is no longer meant. */
#define FARTHEST_GUESS 3
#define LONGEST_GUESS  32

static void print_overview(FILE *to)
{
	fprintf(to, "Usage: pagesim COMMAND [ARGUMENTS...]\n"
		    "       pagesim COMMAND --help\n"
		    "       pagesim --help | --version\n"
		    "\n"
		    "A userspace laboratory for Linux page migration.\n"
		    "\n"
		    "Commands:\n");
	for (size_t i = 0; i < G_N_ELEMENTS(commands); i++)
		fprintf(to, "  %-10s %s\n", commands[i].name, commands[i].summary);
}

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; i < G_N_ELEMENTS(commands); i++)
		if (!strcmp(commands[i].name, name))
			return &commands[i];
	return NULL;
}

/*
 * How many letters must be added, left out, replaced or swapped with their neighbour to get from @a to @b (the optimal
 * string alignment distance), row by row.
 */
static size_t edit_distance(const char *a, const char *b)
{
	size_t rows[3][LONGEST_GUESS + 1];
	size_t *before = rows[0], *above = rows[1], *row = rows[2];
	size_t na = strlen(a), nb = strlen(b);

	if (na > LONGEST_GUESS || nb > LONGEST_GUESS)
		return SIZE_MAX;
	for (size_t j = 0; j <= nb; j++)
		above[j] = j;
	for (size_t i = 1; i <= na; i++) {
		size_t *oldest = before;

		row[0] = i;
		for (size_t j = 1; j <= nb; j++) {
			row[j] = above[j - 1] + (a[i - 1] != b[j - 1]);
			row[j] = MIN(row[j], above[j] + 1);
			row[j] = MIN(row[j], row[j - 1] + 1);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				row[j] = MIN(row[j], before[j - 2] + 1);
		}
		before = above;
		above = row;
		row = oldest;
	}
	return above[nb];
}

/* The command that @name is most likely a slip of, or NULL. */
static const struct command *nearest_command(const char *name)
{
	const struct command *nearest = NULL;
	size_t best = MIN(FARTHEST_GUESS, strlen(name) - 1) + 1;

	for (size_t i = 0; i < G_N_ELEMENTS(commands); i++) {
		size_t d = edit_distance(name, commands[i].name);

		if (d < best) {
			best = d;
			nearest = &commands[i];
		}
	}
	return nearest;
}

static int unknown_command(const char *name)
{
	const struct command *nearest = *name ? nearest_command(name) : NULL;

	if (nearest)
		fprintf(stderr, "pagesim: unknown command '%s', did you mean '%s'?\n", name, nearest->name);
	else
		fprintf(stderr, "pagesim: unknown command '%s' (see 'pagesim --help')\n", name);
	return CMD_USAGE;
}

static void G_GNUC_PRINTF(1, 0) report(const char *format, va_list args)
{
	fflush(stdout);
	fprintf(stderr, "pagesim: %s%s", running ? running->name : "", running ? ": " : "");
	vfprintf(stderr, format, args);
}

int cmd_fail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	report(format, args);
	va_end(args);
	fputc('\n', stderr);
	return CMD_FAILED;
}

int cmd_misused(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	report(format, args);
	va_end(args);
	if (running)
		fprintf(stderr, " (see 'pagesim %s --help')\n", running->name);
	else
		fputs(" (see 'pagesim --help')\n", stderr);
	return CMD_USAGE;
}

void cmd_warn(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	report(format, args);
	va_end(args);
	fputc('\n', stderr);
}

/* GLib writes an ellipsis that a terminal in the C locale cannot show. */
static void print_help(GOptionContext *context)
{
	char *help = g_option_context_get_help(context, TRUE, NULL);
	char **parts = g_strsplit(help, "\342\200\246", -1);
	char *plain = g_strjoinv("...", parts);

	fputs(plain, stdout);
	g_free(plain);
	g_strfreev(parts);
	g_free(help);
}

bool cmd_parse(int *argc, char ***argv, const GOptionEntry *entries, const char *arguments, const char *description,
	       int *ret_status)
{
	gboolean help = FALSE;
	const GOptionEntry common[] = {
		{ "help", 'h', 0, G_OPTION_ARG_NONE, &help, "Show this help and exit", NULL },
		{ 0 },
	};
	GOptionContext *context = g_option_context_new(arguments);
	GError *error = NULL;
	char *name = g_strdup_printf("pagesim %s", running->name);
	bool go_on = false;
	int all = *argc;
	int behind = 0;

	/* What is behind the first `--` is hidden from GLib, which keeps or drops the `--` depending on what follows. */
	for (int i = 1; i < all; i++) {
		if (strcmp((*argv)[i], "--"))
			continue;
		behind = all - i - 1;
		*argc = i;
		break;
	}
	g_set_prgname(name);
	g_free(name);
	g_option_context_set_help_enabled(context, FALSE);
	g_option_context_add_main_entries(context, common, NULL);
	if (entries)
		g_option_context_add_main_entries(context, entries, NULL);
	g_option_context_set_description(context, description);

	if (!g_option_context_parse(context, argc, argv, &error)) {
		*ret_status = cmd_misused("%s", error->message);
		g_error_free(error);
		goto out_free;
	}
	if (help) {
		print_help(context);
		*ret_status = CMD_OK;
		goto out_free;
	}
	/* Close the gap between the arguments left over and those after the `--`, up to and with the final NULL. */
	memmove(*argv + *argc, *argv + all - behind, (behind + 1) * sizeof(**argv));
	*argc += behind;
	go_on = true;
out_free:
	g_option_context_free(context);
	return go_on;
}

/* A full disk or a closed pipe is an error of the command, noticed here at the latest. */
static int finish(int status)
{
	bool lost = ferror(stdout);

	errno = 0;
	if (fflush(stdout) || lost) {
		int failed = cmd_fail("cannot write to standard output: %s", errno ? g_strerror(errno) : "write error");

		return status == CMD_OK ? failed : status;
	}
	return status;
}

int cmd_help(int argc, char **argv)
{
	char *command_help[] = { NULL, (char *)"--help", NULL };
	int status;

	if (!cmd_parse(&argc, &argv, NULL, "[COMMAND]", "Without COMMAND: all commands, a line each.", &status))
		return status;
	if (argc > 2)
		return cmd_misused("one command at a time");
	if (argc == 1) {
		print_overview(stdout);
		return CMD_OK;
	}
	running = find_command(argv[1]);
	if (!running)
		return unknown_command(argv[1]);
	command_help[0] = argv[1];
	return running->run(2, command_help);
}

int main(int argc, char **argv)
{
	setlocale(LC_CTYPE, "");

	if (argc < 2) {
		print_overview(stderr);
		return CMD_USAGE;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) {
		print_overview(stdout);
		return finish(CMD_OK);
	}
	if (!strcmp(argv[1], "--version")) {
		printf("pagesim %s\n", PAGESIM_VERSION);
		return finish(CMD_OK);
	}
	if (argv[1][0] == '-') {
		fprintf(stderr, "pagesim: unknown option '%s' (see 'pagesim --help')\n", argv[1]);
		return CMD_USAGE;
	}
	running = find_command(argv[1]);
	if (!running)
		return unknown_command(argv[1]);
	return finish(running->run(argc - 1, argv + 1));
}
