/* SPDX-License-Identifier: MIT */
/*
 * The migrate engine: moves the contents and the identity of pages to other frames, while everybody who has them mapped
 * goes on as if nothing had happened.
 *
 *   isolate ─> lock ─> hold anon_vma ─> unmap into migration entries ─> freeze ─> copy ─> unfreeze ─> restore ─> unlock ─> put back
 *
 * How the list of pages is worked through (how often, one by one or in batches, when the new page is allocated) differs
 * between kernels; a `struct migrate_recipe` names one choice for each question, and a generation is a recipe with a name.
 *
 * Fidelity: exact against mm/migrate.c of 6.1 (generation `6.1`) and its batched form of 6.3 (generation `6.3-batch`), without
 * hugetlbfs, device memory and memcg.
 *
 * Layer: engines
 */
#ifndef PAGESIM_MIGRATE_H
#define PAGESIM_MIGRATE_H

#include <pagesim/list.h>
#include <pagesim/migrate_mode.h>
#include <pagesim/nodemask.h>
#include <pagesim/shrinker.h>
#include <pagesim/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct address_space;
struct mm_struct;
struct page;
struct ps_machine;
struct vm_area_struct;

/** How the engine works through a list. All zero is no valid recipe: start from a generation. */
struct migrate_recipe {
	const char *name;
	const char *what;          /* one line for people */
	unsigned int passes;       /* over the list, for pages that said -EAGAIN */
	unsigned int force_after;  /* passes before a page lock may be waited for */
	bool batch;                /* unmap all, one TLB flush, then move all */
	unsigned int batch_pages;  /* base pages in one batch */
	unsigned int async_passes; /* batch: passes of the asynchronous attempt of a synchronous caller */
	unsigned int sync_passes;  /* batch: passes one by one afterwards */
};

/** The recipe of a generation ("6.1", "6.3-batch"), or NULL. NULL name: the default, 6.1. */
const struct migrate_recipe *ps_generation_find(const char *name);
/** Visits the generations in order. Return: NULL after the last. */
const struct migrate_recipe *ps_generation_at(unsigned int i);

/** What the engine keeps per machine. */
struct ps_engines {
	const struct migrate_recipe *recipe;
	u64 moved_bytes; /* contents copied */
	u64 failed[16];  /* pages given up, by ps_migrate_failure */
	struct shrinker deferred_split_shrinker;
};

/** Why a page did not move; the report's breakdown of pgmigrate_fail. Units: base pages. */
enum ps_migrate_failure {
	PS_FAIL_NO_MEMORY, /* no page on the target */
	PS_FAIL_LOCKED,    /* page lock not had */
	PS_FAIL_WRITEBACK,
	PS_FAIL_MAPPED,     /* could not be unmapped: pinned or raced */
	PS_FAIL_REFERENCES, /* somebody holds it */
	PS_FAIL_BUFFERS,    /* buffers busy or not releasable */
	PS_FAIL_OTHER,
	PS_NR_MIGRATE_FAILURES,
};
const char *ps_migrate_failure_name(enum ps_migrate_failure failure);

/** Prepares the machine; done once. Return: 0 or -ENOMEM. */
int ps_engines_init(struct ps_machine *machine);
void ps_engines_destroy(struct ps_machine *machine);

/** Gives the destination of one page. Return: a page with one reference, unlocked, in no list; or NULL. */
typedef struct page *(*new_page_t)(struct page *page, void *arg);
/** Takes back a destination that was not used. NULL: put_page(). */
typedef void (*free_page_t)(struct page *page, void *arg);

/**
 * Moves the isolated pages of a list (through page->lru).
 * Pages that moved are off the list and their isolation reference is dropped; what stays on it the caller puts back with
 * putback_movable_pages().
 * @ret_succeeded: base pages moved; may be NULL.
 * Context: may sleep; no locks but mmap_lock.
 * Return: how many pages did not move (a huge page is one), 0 if the list ended empty, or -ENOMEM.
 * Counts PGMIGRATE_*, THP_MIGRATION_*; tracepoints mm_migrate_pages_start, mm_migrate_pages.
 */
int migrate_pages(struct list_head *from, new_page_t get_new_page, free_page_t put_new_page, void *arg,
		  enum migrate_mode mode, enum migrate_reason reason, unsigned int *ret_succeeded);

/** Where alloc_migration_target() looks. */
struct migration_target_control {
	nid_t nid;
	const nodemask_t *nmask;
	gfp_t gfp_mask;
};
/** A destination on a node; huge pages need huge ones. arg: struct migration_target_control. */
struct page *alloc_migration_target(struct page *page, void *arg);

/** Isolates a page from its LRU and counts it as isolated. Return: 0, -EBUSY. Context: the caller holds a reference. */
int isolate_page_for_migration(struct page *page, struct list_head *list);
/** Puts isolated pages back where they belong and uncounts them. */
void putback_movable_pages(struct list_head *list);

/** The a_ops of the kernel's own kinds of file. Return: 0, -EAGAIN. Context: both pages locked, old unmapped. */
int migrate_page(struct address_space *mapping, struct page *newpage, struct page *page, enum migrate_mode mode);
int buffer_migrate_page(struct address_space *mapping, struct page *newpage, struct page *page, enum migrate_mode mode);
/** Mapping, index and references; then flags; then contents. */
int migrate_page_move_mapping(struct address_space *mapping, struct page *newpage, struct page *page, int extra_count);
void migrate_page_states(struct page *newpage, struct page *page);
void migrate_page_copy(struct page *newpage, struct page *page);

/** Moves one page a hint fault found on the wrong node; consumes the reference. Return: true if it moved. */
bool migrate_misplaced_page(struct page *page, struct vm_area_struct *vma, nid_t nid);

/* ---- system calls; all take mmap_lock and drain the LRU batches */

#define PS_STATUS_UNSET (-9999)

/** One page of a move_pages call. */
struct ps_move {
	u64 addr;
	int node;   /* target; whatever the user wrote */
	int status; /* out: node or -errno; left alone where the kernel writes nothing */
};
/**
 * move_pages(2) on mm.
 * @query: nodes == NULL: only report where the pages are.
 * Return: 0; the number of pages not moved or not tried; -ENODEV, -EPERM, -ENOMEM...
 * Fidelity: exact, do_pages_move(), do_pages_stat().
 */
long ps_move_pages(struct mm_struct *mm, struct ps_move *moves, unsigned long nr, bool query, bool move_all);
/** migrate_pages(2) on mm. Return: pages that could not be moved, or -EINVAL, -EPERM. */
long ps_migrate_pages(struct mm_struct *mm, const nodemask_t *from, const nodemask_t *to);

#define MPOL_MF_STRICT   1u
#define MPOL_MF_MOVE     2u
#define MPOL_MF_MOVE_ALL 4u
/** mbind(2). @mode: enum mempolicy_mode. Return: 0, -EINVAL, -EFAULT, -EIO, -EPERM, -ENOMEM. Fidelity: exact, do_mbind(). */
long ps_mbind(struct mm_struct *mm, u64 start, u64 len, int mode, const nodemask_t *nodes, unsigned int flags);

#ifdef __cplusplus
}
#endif
#endif
