/* SPDX-License-Identifier: MIT */
/*
 * What a program must see. The shadow follows a script statement by statement and knows, for every page of every address
 * space, whether it is there, what may be done with it and which word it holds: it predicts the faults of load and store
 * and what check counts. It is a model of the interface, so nothing that only moves memory about (move_pages, mbind, split,
 * swap, compaction, ...) does anything here: that a program cannot tell is what it proves.
 *
 *      a page is    a hole
 *                   private: a word of its own
 *                   of an object (file, shared memory): the object's word
 *                   unsure: a statement failed half-way; nothing is said about it until it is mapped again
 *
 *      a word is    known; known or zero (lazily freed); anything
 *
 * It takes the transcript as given where Linux leaves a choice (did mmap succeed?) and complains about what no choice allows.
 */
#ifndef TESTS_RANDOM_SHADOW_H
#define TESTS_RANDOM_SHADOW_H

#include <pagesim/trace_text.h>
#include <pagesim/types.h>

struct shadow;

/** @huge_pages: pages of a huge page of the machine. Freed by shadow_free(). */
struct shadow *shadow_new(u64 huge_pages);
void shadow_free(struct shadow *shadow);

/**
 * Takes one executed statement and the transcript lines it printed.
 * Return: NULL; or what is wrong, freed with g_free().
 */
char *shadow_step(struct shadow *shadow, const struct ps_statement *st, const char *transcript);

#endif
