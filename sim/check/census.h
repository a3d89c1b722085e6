/* SPDX-License-Identifier: MIT */
/*
 * One count of everything that points at pages: per frame, how many entries of each kind map it, taken in one walk over
 * all address spaces. The checks compare it with what the pages say of themselves.
 */
#ifndef CHECK_CENSUS_H
#define CHECK_CENSUS_H

#include <pagesim/check.h>
#include <pagesim/mm.h>

/* What points at one frame. */
struct sight {
	pfn_t pfn;     /* key; 0 is never a page */
	u32 ptes;      /* present PTEs */
	u32 pmds;      /* present PMDs (on the head's frame) */
	u32 migration; /* migration entries, of either size */
	u32 writable;  /* entries that are writable */
	u32 owned;     /* times it is in the books of a struct ps_page_owner */
	bool reached;  /* accounted for: mapped, cached, or held by the model */
};

struct census {
	struct ps_machine *machine;
	const struct ps_check_settings *settings;
	struct ps_check_report *report;
	struct sight *table; /* open addressing */
	u64 mask, used;
	bool out_of_memory;
	/* Sums for the counters, by node. */
	long anon_mapped[MAX_NUMNODES], anon_thps[MAX_NUMNODES], file_mapped[MAX_NUMNODES], shmem_pmd[MAX_NUMNODES],
		swapcached[MAX_NUMNODES];
	u64 nr_chains, nr_vmas, nr_tables;
	u32 *swap_users; /* entries that refer to each slot; NULL: none does */
};

__attribute__((format(printf, 4, 5))) void violation(struct census *c, int invariant, pfn_t pfn, const char *format,
						     ...);
/** The sight of a frame, made if there is none. Never NULL; a dummy out of memory. */
struct sight *sight_of(struct census *c, pfn_t pfn);
/** The sight, or NULL if nothing points there. */
const struct sight *sight_find(const struct census *c, pfn_t pfn);

/** Walks every address space: fills the census, checks VMAs (I11) and page tables (I1, I16). */
void census_take(struct census *c);
/** Asks every struct ps_page_owner for the pages in its books. */
void census_owned(struct census *c);
/** I1 to I4, I6 to I8, I10, I14, I18: pages against the census. */
void check_pages(struct census *c);
/** I12, I13, I15: reverse mapping. */
void check_rmap(struct census *c);
/** I19: swap slots and the swap cache against the census. */
void check_swap(struct census *c);
/** I5. */
void check_tlbs(struct census *c);

#endif
