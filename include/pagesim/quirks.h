/* SPDX-License-Identifier: MIT */
/*
 * A quirk is one historical fault of the kernel, off by default: one switch at exactly the place in the real code path
 * where the kernel once had it wrong. The list is pagesim/quirks.def. A set of enabled quirks belongs to a runtime
 * (struct ps_runtime_settings); the runtime points the thread at it while its tasks run, so that asking costs one load
 * and one predictable branch.
 *
 * Layer: base
 */
#ifndef PAGESIM_QUIRKS_H
#define PAGESIM_QUIRKS_H

#include <pagesim/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A test of the mechanism itself brings its own list. */
#ifndef PS_QUIRKS_DEF
#define PS_QUIRKS_DEF <pagesim/quirks.def>
#endif

enum ps_quirk_id {
#define PS_QUIRK(id, name, year, text) PS_QUIRK_##id,
#include PS_QUIRKS_DEF
#undef PS_QUIRK
	PS_NR_QUIRKS
};

#define PS_QUIRK_WORDS (PS_NR_QUIRKS / 64 + 1)

/** Which quirks are on. All zero: none. */
struct ps_quirk_set {
	u64 on[PS_QUIRK_WORDS];
};

/** The set of the runtime whose task runs on this thread; never NULL, empty outside a task. */
extern __thread const struct ps_quirk_set *ps_quirks_on;

static inline bool ps_quirk_set_has(const struct ps_quirk_set *set, int id)
{
	return (set->on[id / 64] >> (id % 64)) & 1;
}

/** Is the quirk on for the running task? Never on for an id outside the list. */
#define ps_quirk(id) unlikely(ps_quirk_set_has(ps_quirks_on, (id)))

/** Turns a quirk on (or off) in a set. Return: 0, or -EINVAL for an id outside the list. */
int ps_quirk_set_enable(struct ps_quirk_set *set, int id, bool on);
/** Finds a quirk by its name ("anon-vma-freed-during-migration"). Return: id or -EINVAL. */
int ps_quirk_by_name(const char *name);
/** Return: the name of a quirk, its year and its line; NULL, 0 and NULL for an id outside the list. */
const char *ps_quirk_name(int id);
int ps_quirk_year(int id);
const char *ps_quirk_text(int id);
/** Points this thread at a set; NULL means the empty one. The runtime is the caller. */
void ps_quirks_use(const struct ps_quirk_set *set);

#ifdef __cplusplus
}
#endif

#endif
