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
 * Why a page failed is counted besides (ps_engines.failed), for the report: each base page in pgmigrate_fail has one reason.
 *
 * Fidelity: exact against mm/migrate.c of 6.1 (generation `6.1`) and its batched form of 6.3 (generation `6.3-batch`), without
 * hugetlbfs, device memory and memcg. What differs is said at the function, and in docs/differences-from-linux.md.
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
struct ps_balloon;
struct ps_machine;
struct vm_area_struct;

/** How the engine works through a list. All zero is no valid recipe: start from a generation. */
struct migrate_recipe {
	const char *name;
	const char *what;          /* one line for people */
	unsigned int passes;       /* over the list, for pages that said -EAGAIN */
	unsigned int force_after;  /* the last pass in which a lock or writeback is not waited for; counted from 0 */
	bool batch;                /* unmap all, one TLB flush, then move all */
	unsigned int batch_pages;  /* base pages in one batch */
	unsigned int async_passes; /* batch: passes of the asynchronous attempt for a caller who may wait */
	unsigned int sync_passes;  /* batch: passes over each page alone afterwards */
};

/** The recipe of a generation ("6.1", "6.3-batch"), or NULL. NULL name: the default, 6.1. */
const struct migrate_recipe *ps_generation_find(const char *name);
/** Visits the generations in order. Return: NULL after the last. */
const struct migrate_recipe *ps_generation_at(unsigned int i);

/** What the engine keeps per machine. */
struct ps_engines {
	const struct migrate_recipe *recipe;
	u64 moved_bytes;            /* contents copied; atomic */
	struct ps_balloon *balloon; /* NULL until it is first inflated */
	u64 failed[16]; /* base pages given up, by ps_migrate_failure; atomic. Their sum is pgmigrate_fail */
	struct shrinker deferred_split_shrinker;
};

/** Why a page did not move when it was last tried; the report's breakdown of pgmigrate_fail. */
enum ps_migrate_failure {
	PS_FAIL_NO_MEMORY,  /* no page on the target */
	PS_FAIL_LOCKED,     /* page lock not had */
	PS_FAIL_WRITEBACK,  /* under writeback, and not waited for */
	PS_FAIL_MAPPED,     /* could not be unmapped: pinned or raced */
	PS_FAIL_REFERENCES, /* somebody holds it */
	PS_FAIL_BUFFERS,    /* buffers locked, held or not releasable */
	PS_FAIL_OTHER,      /* dirty where that cannot be moved; refused by its owner */
	PS_NR_MIGRATE_FAILURES,
};
/** Return: what the report calls it; "?" for a number outside the list. */
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

/**
 * Isolates a page from its LRU, at the end of the list, and counts it as isolated.
 * @page: a head. Context: the caller holds a reference, or the lock of an entry that maps it; takes lru_lock.
 * Return: 0, with a reference more; -EBUSY: not on an LRU list (isolated by others, or in a CPU's batch).
 * Fidelity: exact, isolate_lru_page() and what its callers do next.
 */
int isolate_page_for_migration(struct page *page, struct list_head *list);
/** Puts isolated pages back where they belong, uncounts them and drops the isolator's references. Fidelity: exact. */
void putback_movable_pages(struct list_head *list);

/**
 * How kinds of file move a page (a_ops->migrate_folio): any file without private data; with buffers; with buffers that others
 * find without the page lock. @mode: SYNC_NO_COPY leaves the contents to the caller.
 * Context: both pages locked, the old one not mapped; buffers may be waited for unless ASYNC.
 * Return: 0; -EAGAIN: somebody holds the page, or is at its buffers; nothing has changed.
 * Fidelity: exact, migrate_folio(), buffer_migrate_folio(), buffer_migrate_folio_norefs() but for the per-CPU arrays of recent
 * buffers, which are not modelled.
 */
int migrate_page(struct address_space *mapping, struct page *newpage, struct page *page, enum migrate_mode mode);
int buffer_migrate_page(struct address_space *mapping, struct page *newpage, struct page *page, enum migrate_mode mode);
int buffer_migrate_page_norefs(struct address_space *mapping, struct page *newpage, struct page *page,
			       enum migrate_mode mode);
/**
 * What they are made of. Mapping, index, references, the file's slot and counters, and the dirty flag of a file's page.
 * @extra_count: references the caller knows of besides the usual ones.
 * Context: as above; takes xa_lock. Return: 0; -EAGAIN: other references. Fidelity: exact, folio_migrate_mapping().
 */
int migrate_page_move_mapping(struct address_space *mapping, struct page *newpage, struct page *page, int extra_count);
/** The flags, and who used it last. Fidelity: exact, folio_migrate_flags(), without KSM, idle tracking, page owner, memcg. */
void migrate_page_states(struct page *newpage, struct page *page);
/** Contents, then migrate_page_states(). Charges the copy. Fidelity: exact, folio_migrate_copy(). */
void migrate_page_copy(struct page *newpage, struct page *page);

/**
 * Moves one page a hint fault found on the wrong node; consumes the reference.
 * @vma: where the fault was. A page of a file that several processes map stays if that mapping can be executed, and so does a
 * dirty one.
 * Context: mmap_lock, no page locked; may sleep. Return: true if it moved. Fidelity: exact, migrate_misplaced_page().
 */
bool migrate_misplaced_page(struct page *page, struct vm_area_struct *vma, nid_t nid);

/*
 * ---- system calls. All take mmap_lock and, where they move pages, keep the LRU batches drained meanwhile. `current` is who
 * calls; current->unprivileged: without CAP_SYS_NICE. Whose mm it may be is not checked, and there are no cpusets: every node
 * with memory is allowed to everybody.
 */

#define PS_STATUS_UNSET (-9999)

/** One page of a move_pages call. */
struct ps_move {
	u64 addr;
	int node;   /* target; whatever the user wrote */
	int status; /* out, see below; left alone where the kernel writes nothing */
};
/**
 * move_pages(2) on mm.
 * @query: nodes == NULL: only report where the pages are.
 * @move_all: MPOL_MF_MOVE_ALL, pages that others map too; privileged.
 * Status of a page: its node; -EFAULT: nothing mapped there, or the zero page; -ENOENT: no page; -EACCES: others map it too,
 * without @move_all; -EBUSY: it could not be isolated. Where a call ends early, later statuses, and those of the pages moved
 * together with the failing one, are left alone.
 * Return: 0; the number of pages not moved or not tried, from the first node's list with a page that did not move;
 * -ENOMEM: the same for want of memory; -ENODEV: a node that is none, or without memory; -EPERM: @move_all without privilege,
 * nothing was looked at.
 * Fidelity: exact, kernel_move_pages(), do_pages_move(), do_pages_stat().
 */
long ps_move_pages(struct mm_struct *mm, struct ps_move *moves, unsigned long nr, bool query, bool move_all);
/**
 * migrate_pages(2) on mm: what is on the nodes `from` goes to the nodes of the same position in `to`. Without privilege only
 * pages nobody else maps move.
 * Return: pages that did not move (a huge page is one); -EINVAL: no node of `to` has memory; -EPERM: one has none, without
 * privilege; -ENOMEM: the nodes moved before stay moved.
 * Fidelity: exact, kernel_migrate_pages(), do_migrate_pages().
 */
long ps_migrate_pages(struct mm_struct *mm, const nodemask_t *from, const nodemask_t *to);

#define MPOL_MF_STRICT   1u
#define MPOL_MF_MOVE     2u
#define MPOL_MF_MOVE_ALL 4u
/**
 * mbind(2) on mm: a policy for [start, start + len), and with MPOL_MF_MOVE or MOVE_ALL what is elsewhere goes where it says.
 * @mode: enum mempolicy_mode. @flags: MPOL_MF_*.
 * Return: 0; -EINVAL: flags, mode, nodes, or an address that is not a page's; -EPERM: MOVE_ALL without privilege; -EFAULT: a hole in the range; -EIO: with MPOL_MF_STRICT a page is, or stays, elsewhere;
 * -ENOMEM: no VMA could be made. Fidelity: exact, do_mbind().
 */
long ps_mbind(struct mm_struct *mm, u64 start, u64 len, int mode, const nodemask_t *nodes, unsigned int flags);

#ifdef __cplusplus
}
#endif
#endif
