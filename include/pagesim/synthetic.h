/* SPDX-License-Identifier: MIT */
/*
 * Traces without a program: a seeded generator of page numbers by a rule. The same settings give the same numbers on
 * every host, so no floating point decides anything: probabilities are turned into 64-bit integers once, by operations
 * that IEEE 754 defines exactly.
 *
 * Names in this file:
 *   rank      how popular a page is, 0 = most
 *   scatter   which page has which rank: a seeded permutation
 *
 * Layer: replay
 */
#ifndef PAGESIM_SYNTHETIC_H
#define PAGESIM_SYNTHETIC_H

#include <glib.h>
#include <pagesim/rng.h>
#include <pagesim/trace_file.h>
#include <pagesim/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Zipf with exponent 1 over n ranks: rank k (from 0) has probability in proportion to 1 / (k + 1). Walker's alias method: one
 * random number, one table line and one comparison a draw.
 */
struct ps_zipf;

/** @n: 1 .. 2^32 - 1. Return: the table (16 bytes a rank), freed by ps_zipf_free(); NULL without memory or with n out of range. */
struct ps_zipf *ps_zipf_new(u64 n);
/** The next rank, 0 .. n - 1. */
u64 ps_zipf_next(const struct ps_zipf *zipf, struct ps_rng *rng);
/** Probability of rank @k as the table has it, in units of 2^-64 (rank 0 of n = 1: 2^64 - 1). For tests. */
u64 ps_zipf_weight(const struct ps_zipf *zipf, u64 k);
void ps_zipf_free(struct ps_zipf *zipf);

enum ps_synthetic_pattern {
	PS_SYNTHETIC_ZIPF,
	PS_SYNTHETIC_UNIFORM,
	PS_SYNTHETIC_SEQUENTIAL, /* page 0, 1, 2..., and again */
};

/** All zero but pages and accesses: Zipf, reads only. */
struct ps_synthetic_settings {
	enum ps_synthetic_pattern pattern;
	u64 pages;
	u64 accesses;
	u64 seed;
	u32 write_per_mille; /* so many of 1000 accesses are writes */
	bool ranked;         /* page k has rank k; otherwise ranks are scattered */
	u64 first_vpn;       /* where the pages begin; 0 = 0x10000 */
};

/**
 * Writes a trace of one process that maps the pages as private anonymous memory and touches them by the pattern.
 * Return: true; false with @error set (settings that cannot be, out of memory). The writer is neither finished nor freed.
 */
bool ps_synthetic_write(const struct ps_synthetic_settings *settings, struct ps_trace_writer *writer, GError **error);

#ifdef __cplusplus
}
#endif
#endif
