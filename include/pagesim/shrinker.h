/* SPDX-License-Identifier: MIT */
/*
 * Shrinkers: memory that is on no LRU list and can be given up all the same. Whoever keeps such memory registers two
 * functions: how much is there, and give up some of it. Reclaim asks all of them after each round over a node's lists, for
 * the share of it that the round was; `drop_caches 2` asks until there is nothing left to speak of.
 *
 *   count_objects ─> freeable ─┬─ >> priority, * 4 / seeks ──┐
 *                              └─ put off by earlier calls ──┴─> total ─> scan_objects in portions of `batch`
 *                                                                 └─ less than a portion: put off, per node
 *
 * Registered here: huge pages waiting to be split, huge pages of tmpfs that reach beyond the end of their file, the huge zero
 * page.
 *
 * Fidelity: exact against shrink_slab() and do_shrink_slab() of 6.1 without memory cgroups.
 *
 * Layer: page
 */
#ifndef PAGESIM_SHRINKER_H
#define PAGESIM_SHRINKER_H

#include <pagesim/atomic.h>
#include <pagesim/gfp.h>
#include <pagesim/list.h>
#include <pagesim/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/** What is asked of a shrinker. */
struct shrink_control {
	gfp_t gfp_mask;
	nid_t nid;                /* 0 for one that is not NUMA aware */
	unsigned long nr_to_scan; /* objects; in: how many to look at. The shrinker may count it down */
	unsigned long nr_scanned; /* out: how many it looked at; in: nr_to_scan */
};

/** scan_objects: there is nothing more to be had now. */
#define SHRINK_STOP (~0UL)

/** How hard an object is to make again; this is a page's worth of disk. */
#define DEFAULT_SEEKS 2
/** Objects scanned at once if the shrinker does not say otherwise. */
#define SHRINK_BATCH 128UL

#define SHRINKER_NUMA_AWARE 1u /* asked per node; else once a node, for all of it */

struct shrinker {
	/** How many objects could be freed now. **Context:** shrinker_rwsem for reading; may not sleep long. */
	unsigned long (*count_objects)(struct shrinker *shrinker, struct shrink_control *sc);
	/** Tries nr_to_scan objects. **Return:** how many were freed, or SHRINK_STOP. **Context:** may sleep. */
	unsigned long (*scan_objects)(struct shrinker *shrinker, struct shrink_control *sc);
	unsigned long batch; /* 0: SHRINK_BATCH */
	int seeks;           /* 0: cheap to make again, half of all is scanned each time */
	unsigned int flags;  /* SHRINKER_* */
	const char *name;
	struct list_head list;                   /* shrinker_rwsem */
	atomic_long_t nr_deferred[MAX_NUMNODES]; /* work put off, by node */
};

/** From now on the current machine's reclaim asks it. **Context:** takes shrinker_rwsem; may sleep. */
void register_shrinker(struct shrinker *shrinker, const char *name);
/** Not any more. One that is not registered (all zero) is fine. **Context:** as above. */
void unregister_shrinker(struct shrinker *shrinker);

/**
 * Asks every shrinker for its share on a node.
 * @priority: as of reclaim: 0 asks for everything, twice.
 * **Context:** may sleep; shrinker_rwsem is tried, so that a caller who holds anything may come.
 * **Return:** objects freed, as the shrinkers count.
 */
unsigned long shrink_slab(gfp_t gfp_mask, nid_t nid, int priority);
/** `drop_caches 2`: shrink_slab() on every node until little comes of it. Counts DROP_SLAB. **Context:** may sleep. */
void drop_slab(void);

#ifdef __cplusplus
}
#endif
#endif
