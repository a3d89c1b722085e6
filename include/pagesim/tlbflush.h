/* SPDX-License-Identifier: MIT */
/*
 * Making CPUs forget translations. Changing an entry and flushing it are separate steps, as in the kernel: between them
 * another CPU may still use the old translation, and whole families of bugs live in that window.
 *
 * The caller's own CPU flushes at once; every other CPU in the address space's cpumask gets an inter-processor interrupt
 * (a shootdown), whose cost the caller and the target are charged. A batch collects address spaces and flushes each of
 * the CPUs concerned once.
 *
 * Fidelity: simplified: no lazy TLB mode, a batched flush drops the whole address spaces concerned where the kernel drops
 * the whole TLB.
 *
 * Layer: pagetable
 */
#ifndef PAGESIM_TLBFLUSH_H
#define PAGESIM_TLBFLUSH_H

#include <pagesim/pgtable.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Notes that the current CPU runs this address space and may from now on hold its translations. */
void tlb_enter_mm(struct page_tables *pt);

/** Context: the entry is changed already; may be called under page-table locks. */
void flush_tlb_page(struct page_tables *pt, u64 addr);
void flush_tlb_range(struct page_tables *pt, u64 start, u64 end);
void flush_tlb_mm(struct page_tables *pt);
/** On the current CPU only: a permission was widened, a stale narrower entry would only cause a spurious fault. */
void flush_tlb_fix_spurious_fault(struct page_tables *pt, u64 addr);

#define TLB_BATCH_MMS 8

/** Flushes put off (struct tlbflush_unmap_batch of the kernel). All zero is empty. */
struct tlb_batch {
	struct page_tables *mm[TLB_BATCH_MMS];
	unsigned int nr;
	bool writable; /* a dirty entry is among them: flush before the page is read */
};

/** Puts off the flush of an entry of this address space; flushes the batch first if it is full of others. */
void tlb_batch_add(struct tlb_batch *batch, struct page_tables *pt, bool writable);
/** Flushes what was put off and empties the batch. Does nothing for an empty one. */
void tlb_batch_flush(struct tlb_batch *batch);

#ifdef __cplusplus
}
#endif
#endif
