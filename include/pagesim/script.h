/* SPDX-License-Identifier: MIT */
/*
 * Running a script of the trace language: each statement is executed by its task on the simulated computer, and what it
 * returned and changed is told in the transcript's words. The transcripts of a real Linux 6.1 are the specification
 * (docs/traces.md tells the format).
 *
 * Layer: replay
 */
#ifndef PAGESIM_SCRIPT_H
#define PAGESIM_SCRIPT_H

#include <glib.h>
#include <pagesim/machine.h>
#include <pagesim/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct ps_script;
struct ps_world;

/** All zero: the defaults. */
struct ps_script_settings {
	const char *generation; /* of the migrate engine; NULL: 6.1 */
	u64 seed;
	bool check; /* check_machine() after every statement and at the end; a violation ends the script with an error */
	/** Hears each finished statement's transcript lines, in order. NULL: the transcript is thrown away. */
	void (*print)(void *arg, const char *text, size_t length);
	/**
	 * Called after every statement when it has been printed, outside any task, before its check (which may be switched
	 * on and off here); false stops the run. NULL: nothing. For checkers.
	 */
	bool (*after)(void *arg, struct ps_world *world, u32 line);
	void *arg; /* of both */
};

/**
 * Runs a script on a machine.
 * Return: true; false with @error set (FILE:LINE: ...): bad words, an unknown task or region, a verb this build does not
 * have. What ran before has been printed; the error is also the transcript's last line.
 */
bool ps_script_run(const struct ps_script *script, const struct ps_machine_spec *spec,
		   const struct ps_script_settings *settings, GError **error);

#ifdef __cplusplus
}
#endif
#endif
