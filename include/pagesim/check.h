/* SPDX-License-Identifier: MIT */
/*
 * Is the whole machine consistent? check_machine() looks at every page, entry, VMA, anon_vma, file and counter and says
 * which of the numbered invariants (docs/invariants.md) do not hold, and where. It changes nothing.
 *
 * Some rules hold at any moment when no task is inside the model; others (marked *at rest*) only when nobody is half-way
 * through anything either: no page is isolated, locked or under migration, and the per-CPU LRU batches are drained.
 *
 * Layer: check
 */
#ifndef PAGESIM_CHECK_H
#define PAGESIM_CHECK_H

#include <pagesim/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct page;
struct ps_machine;

/* X(number, what must hold). The numbers are those of docs/invariants.md. */
#define PS_INVARIANTS(X)                                                                                       \
	X(1, "no use of a freed object: what an entry maps is an allocated page, and never a tail of nothing") \
	X(2, "a migration entry implies a locked page")                                                        \
	X(3, "the refcount equals the known references (at rest)")                                             \
	X(4, "the mapcount equals the present entries")                                                        \
	X(5, "no TLB entry reaches what its page table does not map the same way")                             \
	X(6, "no mapped frame holds the contents of a freed one")                                              \
	X(7, "a clean page of a file that tracks dirtying has no writable entry")                              \
	X(8, "each page is on at most one list, where its flags say, or once in its owner's books")            \
	X(9, "every counter equals a recount (isolated pages: at rest)")                                       \
	X(10, "nothing is leaked: every allocated page and anon_vma is reachable (at rest)")                   \
	X(11, "VMAs are in order, do not overlap, and tree, list and count agree")                             \
	X(12, "anon_vmas: a VMA's chain has one root, trees hold exactly the chains, counts are right")        \
	X(13, "reverse mapping is complete: walking from a page finds every entry that maps it")               \
	X(14, "an exclusive anonymous page is mapped once, and only an exclusive one is writable")             \
	X(15, "a file entry maps the page its file has at that offset")                                        \
	X(16, "page tables: leaves are aligned, deposits match huge PMDs, table counts are right")             \
	X(17, "files: cache slots, tags, buffers and sizes agree")                                             \
	X(18, "no page is locked or under migration, no lock is held (at rest)")                               \
	X(19, "swap: each slot has the users its count says, and is cached if it says so (at rest)")

struct ps_violation {
	int invariant;
	char text[224];
	u64 pfn; /* of the page concerned, or U64_MAX */
};

#define PS_MAX_VIOLATIONS 32

struct ps_check_report {
	unsigned int nr; /* found; the first PS_MAX_VIOLATIONS are described */
	struct ps_violation violation[PS_MAX_VIOLATIONS];
};

/** All zero: check at rest, with nobody outside holding pages. */
struct ps_check_settings {
	bool busy; /* not at rest: skip what holds only then */
	/** References (in base counts, as _refcount has them) that the caller knows of besides the model's. NULL: none. */
	long (*extra_refs)(void *arg, const struct page *page);
	void *arg;
};

/**
 * Checks everything.
 * Context: a current task of the machine; no task is inside the model.
 * Return: number of violations, described in *report; -ENOMEM.
 */
int check_machine(struct ps_machine *machine, const struct ps_check_settings *settings, struct ps_check_report *report);

/** What invariant `number` says, or NULL. */
const char *ps_invariant_text(int number);

#ifdef __cplusplus
}
#endif
#endif
