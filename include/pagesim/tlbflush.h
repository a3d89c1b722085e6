/* SPDX-License-Identifier: MIT */
/*
 * Making CPUs forget translations. Changing an entry and flushing it are separate steps, as in the kernel: between them
 * another CPU may still use the old translation, and whole families of bugs live in that window.
 *
 * The caller's own CPU flushes at once; every other CPU in the address space's cpumask gets an inter-processor interrupt
 * (a shootdown), whose cost the caller and the target are charged. A batch collects CPUs and flushes each of them once.
 *
 * What Linux does differently: it has a lazy TLB mode and generations per address space (a CPU that has gone on to another
 * process is not interrupted, and flushes when it comes back).
 *
 * Locking: pt->cpumask: atomic bits, see tlb_enter_mm. A batch is its owner's. Flushing takes MMU_LOCK of each CPU in turn.
 *
 * Layer: pagetable
 */
#ifndef PAGESIM_TLBFLUSH_H
#define PAGESIM_TLBFLUSH_H

#include <pagesim/pgtable.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Notes that the current CPU runs this address space and may from now on hold its translations. A full barrier: what the
 * CPU reads of the tables afterwards is at least what was there when a flush did not yet see it in the mask.
 * Context: any task; before its first walk in this address space on this CPU. Fidelity: simplified (switch_mm_irqs_off): the
 * CPU is never taken out of the mask again.
 */
void tlb_enter_mm(struct page_tables *pt);

/**
 * Flush one page, the pages of [@start, @end), everything of the address space; on every CPU in its mask. On return no such
 * translation is in a TLB or can still get there, and no access through one is still to come.
 * Context: the entry is changed already; may be called under page-table locks; does not sleep. Charges the current task as
 * the work it is at.
 * Fidelity: flush_tlb_page, flush_tlb_range: exact in which CPUs and pages (33 pages at most one by one), simplified as said
 * above (lazy TLB). flush_tlb_mm: the same.
 */
void flush_tlb_page(struct page_tables *pt, u64 addr);
void flush_tlb_range(struct page_tables *pt, u64 start, u64 end);
void flush_tlb_mm(struct page_tables *pt);
/**
 * On the current CPU only: a permission was widened, a stale narrower entry would only cause a spurious fault.
 * Context: as above. Fidelity: exact in effect; on x86 the kernel's is empty because the fault itself drops the entry.
 */
void flush_tlb_fix_spurious_fault(struct page_tables *pt, u64 addr);

/**
 * Flushes put off (struct tlbflush_unmap_batch of the kernel). All zero is empty. It keeps CPUs, not address spaces: one of
 * those may be gone by the time of the flush.
 */
struct tlb_batch {
	struct ps_cpumask cpus;
	bool pending;
	bool writable; /* a dirty entry is among them: flush before the page is read */
};

/**
 * Puts off the flush of an entry of this address space.
 * Context: the entry is changed already, and its table's lock held. Fidelity: exact, set_tlb_ubc_flush_pending().
 */
void tlb_batch_add(struct tlb_batch *batch, struct page_tables *pt, bool writable);
/**
 * Flushes what was put off, which is everything the CPUs concerned have, and empties the batch. Does nothing for an empty one.
 * Context: before any page concerned is read, written or freed. Fidelity: exact, try_to_unmap_flush().
 */
void tlb_batch_flush(struct tlb_batch *batch);

#ifdef __cplusplus
}
#endif
#endif
