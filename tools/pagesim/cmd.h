/* SPDX-License-Identifier: MIT */
/*
 * What a command of the CLI is and what it may lean on. A command is one function in one file, cmd_NAME.c, that parses its
 * options with cmd_parse(), calls the library and prints; everything that commands must do alike (help, the wording
 * and the exit status of errors) is here.
 *
 * A command uses the public headers <pagesim/...> only: it is linked to libpagesim.so, where nothing else can be seen.
 * Results go to standard output, everything else to standard error.
 */
#ifndef PAGESIM_TOOLS_CMD_H
#define PAGESIM_TOOLS_CMD_H

#include <glib.h>
#include <stdbool.h>

/** Exit statuses of every command; docs/pagesim.1.scd documents them. */
enum cmd_status {
	CMD_OK = 0,     /* did what was asked */
	CMD_FAILED = 1, /* the input, the host or a check said no */
	CMD_USAGE = 2,  /* the command line makes no sense; nothing was done */
};

#define COMMAND(name, summary) int cmd_##name(int argc, char **argv);
#include "commands.def"
#undef COMMAND

/**
 * cmd_parse() - parse the options of a command
 * @argc, @argv: as the command got them (argv[0] is its name); what is left afterwards are the arguments, from argv[1] on.
 *	Everything after a `--` is an argument, and the `--` itself is dropped.
 * @entries: the options, ended by { 0 }; NULL when there are none. --help is added. Paths are G_OPTION_ARG_FILENAME.
 * @arguments: the arguments as the usage line shows them, e.g. "TRACE..."; "" when there are none.
 * @description: what the command does, whole sentences, shown by --help below the options.
 * @ret_status: the exit status, set when false is returned.
 *
 * Return: true to go on; false when --help was answered or the options were wrong (reported): return *ret_status.
 */
bool cmd_parse(int *argc, char ***argv, const GOptionEntry *entries, const char *arguments, const char *description,
	       int *ret_status);

/**
 * cmd_fail() - report why the command failed, as "pagesim: COMMAND: message"
 * What was printed to standard output so far is flushed first. The message has no newline.
 * Return: CMD_FAILED, for `return cmd_fail(...)`.
 */
int cmd_fail(const char *format, ...) G_GNUC_PRINTF(1, 2);

/** cmd_misused() - like cmd_fail(), for a command line that makes no sense; adds where help is. Return: CMD_USAGE. */
int cmd_misused(const char *format, ...) G_GNUC_PRINTF(1, 2);

/** cmd_warn() - like cmd_fail(), for something worth knowing that stops nothing. */
void cmd_warn(const char *format, ...) G_GNUC_PRINTF(1, 2);

#endif
