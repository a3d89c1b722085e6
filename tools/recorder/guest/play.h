/* SPDX-License-Identifier: MIT */
/*
 * Playing a script on the running kernel: the statements, as pagesim's own parser understands them, become work for tasks and
 * writes to /proc and /sys, and what came of it is said in the words of the transcript.
 */
#ifndef GUEST_PLAY_H
#define GUEST_PLAY_H

#include <pagesim/trace_text.h>

/** struct play_settings. @nr_nodes: nodes a script knows, 0 to nr_nodes - 1. @nr_cpus: likewise. */
struct play_settings {
	unsigned int nr_nodes, nr_cpus;
};

/**
 * play() - run the script to its end or first error, which is the transcript's last line then. Tasks that live on end.
 * Context: a process of its own, with frames_init() done, `office` set and say_into() called; the transcript has been said
 * when it returns.
 */
void play(const struct ps_script *script, const struct play_settings *settings);

#endif
