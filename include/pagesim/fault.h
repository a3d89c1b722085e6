/* SPDX-License-Identifier: MIT */
/*
 * What a workload does to memory: an access that misses the TLB, and the page fault behind it.
 *
 *   access ── TLB hit ──> done (replay does this itself, inline)
 *          └─ miss ─> walk ── entry allows it ──> set accessed/dirty, fill the TLB
 *                          └─ no ──> fault: find the VMA, mmap_lock for reading, handle_mm_fault(), try again
 *
 * Fidelity: each function says its own. What is compared with 6.1 is mm/memory.c and mm/huge_memory.c.
 *
 * Layer: fault
 */
#ifndef PAGESIM_FAULT_H
#define PAGESIM_FAULT_H

#include <pagesim/mm.h>
#include <pagesim/shrinker.h>
#include <pagesim/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct page;

/** What the fault is for. */
#define FAULT_FLAG_WRITE   0x01u
#define FAULT_FLAG_USER    0x40u
#define FAULT_FLAG_REMOTE  0x80u  /* not by the current task's own access (GUP) */
#define FAULT_FLAG_UNSHARE 0x400u /* make an anonymous page exclusive without writing */

/** How a fault ended; OR of these. 0: handled, retry the access. */
typedef unsigned int vm_fault_t;
#define VM_FAULT_OOM      0x001u
#define VM_FAULT_SIGBUS   0x002u
#define VM_FAULT_MAJOR    0x004u
#define VM_FAULT_SIGSEGV  0x040u
#define VM_FAULT_NOPAGE   0x100u
#define VM_FAULT_FALLBACK 0x800u /* a huge page could not be used: go on with small ones */
#define VM_FAULT_ERROR    (VM_FAULT_OOM | VM_FAULT_SIGBUS | VM_FAULT_SIGSEGV)

/** What kinds of fault a task took; read by the report. */
enum ps_fault_kind {
	PS_FAULT_ANON,      /* first touch of anonymous memory */
	PS_FAULT_ZERO,      /* mapped the zero page */
	PS_FAULT_FILE,      /* mapped a page-cache page */
	PS_FAULT_COW,       /* copied on write */
	PS_FAULT_REUSE,     /* made writable in place */
	PS_FAULT_THP,       /* mapped a huge page */
	PS_FAULT_HINT,      /* NUMA hint fault */
	PS_FAULT_MIGRATION, /* waited for a migration entry */
	PS_FAULT_SWAP,      /* brought back from swap */
	PS_NR_FAULT_KINDS,
};
const char *ps_fault_kind_name(enum ps_fault_kind kind);

/** How huge pages are used: /sys/kernel/mm/transparent_hugepage. */
enum thp_mode { THP_MADVISE, THP_ALWAYS, THP_NEVER };
enum thp_defrag { THP_DEFRAG_MADVISE, THP_DEFRAG_ALWAYS, THP_DEFRAG_DEFER, THP_DEFRAG_NEVER, THP_DEFRAG_DEFER_MADVISE };

/** What NUMA balancing decides about; set by a policy, NULL functions mean no. */
struct numa_hooks {
	/**
	 * A hint fault found the page on its node: should it move to the faulting CPU's node?
	 * Return: the node to move it to, or NUMA_NO_NODE.
	 * Context: page-table lock held, the page is referenced by the caller.
	 */
	nid_t (*misplaced)(struct page *page, struct vm_area_struct *vma, u64 addr, nid_t page_nid);
	/** Moves the page; consumes the reference. Return: true if it moved. Context: no locks but mmap_lock. */
	bool (*migrate)(struct page *page, struct vm_area_struct *vma, nid_t nid);
	/** The fault is over: `pages` base pages on `nid`, moved or not. */
	void (*faulted)(struct mm_struct *mm, nid_t nid, unsigned int pages, bool moved, bool failed);
};

/** What khugepaged tolerates in one huge page's worth of memory, in base pages: /sys/.../transparent_hugepage/khugepaged. */
struct khugepaged_limits {
	unsigned int max_ptes_none;   /* holes; all but one at first */
	unsigned int max_ptes_swap;   /* in swap; an eighth at first */
	unsigned int max_ptes_shared; /* that others map too; half at first */
};

/**
 * Settings and counts of one machine's fault handling; in machine->faults. Settings are changed while no program runs: by a
 * script's `kernel set` and by policies that come and go.
 */
struct ps_faults {
	enum thp_mode thp_enabled;
	enum thp_defrag thp_defrag;
	struct khugepaged_limits khugepaged;
	bool no_zero_page; /* transparent_hugepage/use_zero_page = 0 */
	struct numa_hooks numa;
	/**
	 * Before a long-term pin: moves what is in ZONE_MOVABLE out. NULL: pages stay. Set by the engines.
	 * Context: mmap_lock; the pages are pinned with these FOLL_*. Return: 0: the pins stay; -EAGAIN: they are dropped,
	 * pin again; -ENOMEM: they are dropped.
	 */
	int (*migrate_movable)(unsigned long nr, struct page **pages, unsigned int flags);
	unsigned int numa_balancing;  /* 0, or OR of NUMA_BALANCING_* */
	u64 count[PS_NR_FAULT_KINDS]; /* relaxed atomics */
	/* These two have no lock: who changes them looks at them again after sleeping, and not at a schedule point between. */
	struct page *huge_zero_page; /* NULL until somebody reads untouched huge memory */
	long huge_zero_users;        /* address spaces that use it */
	struct shrinker huge_zero_shrinker;
};
#define NUMA_BALANCING_NORMAL         1u
#define NUMA_BALANCING_MEMORY_TIERING 2u

/** Prepares the machine for faults; installs the cache's unmap hooks. Return: 0 or -ENOMEM. */
int ps_faults_init(struct ps_machine *machine);
void ps_faults_destroy(struct ps_machine *machine);
/**
 * Gives the huge zero page back if no address space uses it.
 * Return: pages freed. Fidelity: exact, shrink_huge_zero_page_scan(); registered as a shrinker.
 */
unsigned long shrink_huge_zero_page(struct ps_machine *machine);

/**
 * Handles one fault on an address of the VMA.
 * Context: mmap_lock for reading; may sleep and allocate. Return: VM_FAULT_*.
 * Fidelity: simplified, handle_mm_fault(): what a fault does to pages, entries, counts and references is 6.1's for
 * anonymous memory, the zero pages, files, copy on write, huge pages, migration entries and NUMA hints. There is no
 * fault-around, no userfaultfd, no KSM, no hugetlb, and mmap_lock is not dropped to wait for a page.
 */
vm_fault_t handle_mm_fault(struct vm_area_struct *vma, u64 addr, unsigned int flags);

/** What the current task's access came to. */
struct ps_access {
	pfn_t pfn;
	nid_t nid;
	bool faulted; /* at least one fault was taken */
};
/**
 * One load or store by the current task on its CPU, with everything hardware and kernel do for it; charges what it costs
 * but the access to memory itself.
 * Context: current->mm set; may sleep.
 * Return: 0 with *ret filled in (NULL allowed); -EFAULT (SIGSEGV), -ENXIO (SIGBUS), -ENOMEM (OOM kill).
 * Fidelity: simplified; do_user_addr_fault() behind a TLB of two levels and a walk that sets accessed and dirty.
 */
int ps_mmu_access(u64 addr, bool write, struct ps_access *ret);
/** The same with the TLB known to have missed or to forbid it: walk first. Fidelity: as above. */
int ps_mmu_walk(u64 addr, bool write, struct ps_access *ret);
/**
 * Loads or stores the first word of the page at addr. Translation and memory are one step against shootdowns, as on a real
 * CPU: once a flush has returned, no store through the old translation is still to come. ps_mmu_access() leaves memory to
 * the caller, who gets the same on fibers by going on without a schedule point, and does not get it in the native build.
 * Context and Return: as ps_mmu_access(). Fidelity: exact (hardware).
 */
int ps_mmu_load(u64 addr, u64 *ret_word);
int ps_mmu_store(u64 addr, u64 word);

struct ps_page_source;
/**
 * Where a file's new pages come from when the current task is why they are needed, in a fault, read or write: the policy of
 * the place in the file (tmpfs), else the task's.
 * Return: *ret_source, which owns nothing. Fidelity: exact, shmem_alloc_folio() and filemap_alloc_folio().
 */
void ps_policy_page_source(struct ps_page_source *ret_source);

/**
 * swapoff(2): brings everything back that is in swap, then takes the area away.
 * Context: a current task without an address space lock; may sleep. Return: 0; -EINVAL (swap is off), -ENOMEM (swap is on as
 * before, some of it brought back). Fidelity: exact; swapoff(), try_to_unuse().
 */
int ps_swapoff(struct ps_machine *machine);

/**
 * Faults in [start, end): write faults where the VMA is writable and private.
 * Context: mmap_lock, kept; may sleep and allocate. Return: 0, -ENOMEM, -EFAULT (no access, or SIGBUS).
 * Fidelity: exact, populate_vma_page_range().
 */
int populate_vma_page_range(struct vm_area_struct *vma, u64 start, u64 end);
/**
 * The same for every VMA of [start, start + len); holes are passed over.
 * Context: takes mmap_lock for reading. Return: the first error. Fidelity: exact, __mm_populate() that ignores no error.
 */
int mm_populate(struct mm_struct *mm, u64 start, u64 len);

/**
 * May this VMA have huge pages at all?
 * @in_fault: asked by a fault, which looks at its address itself; else by who collapses.
 * @enforce_sysfs: and do the settings want them? Who asks for a collapse in so many words is not bound by them.
 * Fidelity: exact, hugepage_vma_check().
 */
bool hugepage_vma_check(const struct vm_area_struct *vma, bool in_fault, bool enforce_sysfs);
/** Does the huge page around addr lie within the VMA and its file offset agree? Fidelity: exact. */
bool transhuge_vma_suitable(const struct vm_area_struct *vma, u64 addr);

#ifdef __cplusplus
}
#endif
#endif
