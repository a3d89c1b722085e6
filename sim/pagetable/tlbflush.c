/* SPDX-License-Identifier: MIT */
/*
 * Which CPUs must forget what: the cpumask of an address space, and the batch of flushes put off.
 */
#include <pagesim/tlbflush.h>

#include <pagesim/barrier.h>
#include <pagesim/bitops.h>
#include <pagesim/machine.h>
#include <pagesim/sched_point.h>
#include <pagesim/task.h>

void tlb_enter_mm(struct page_tables *pt)
{
	if (test_bit((unsigned long)current->cpu, pt->cpumask.bits))
		return;
	set_bit((unsigned long)current->cpu, pt->cpumask.bits);
	/* The bit before the first walk; pairs with flush(). */
	smp_mb__after_atomic();
}

/*
 * Adds the CPUs that may hold translations of pt. The changed entry before the mask; pairs with tlb_enter_mm(): a CPU that is
 * not seen here has not begun to walk, and will find the entry changed.
 */
static void add_cpus(struct ps_cpumask *cpus, const struct page_tables *pt)
{
	unsigned int i, words = BITS_TO_LONGS(this_machine()->nr_cpus);

	smp_mb();
	for (i = 0; i < words; i++)
		cpus->bits[i] |= READ_ONCE(pt->cpumask.bits[i]);
}

static void flush(struct page_tables *pt, u64 addr, u64 npages)
{
	struct ps_cpumask cpus = { { 0 } };

	ps_point(PS_POINT_OTHER, pt);
	add_cpus(&cpus, pt);
	ps_tlb_shootdown(&cpus, pt->asid, addr >> PAGE_SHIFT, npages);
}

void flush_tlb_page(struct page_tables *pt, u64 addr)
{
	flush(pt, addr, 1);
}

void flush_tlb_range(struct page_tables *pt, u64 start, u64 end)
{
	flush(pt, start, (end - start + PAGE_SIZE - 1) >> PAGE_SHIFT);
}

void flush_tlb_mm(struct page_tables *pt)
{
	flush(pt, 0, 0);
}

void flush_tlb_fix_spurious_fault(struct page_tables *pt, u64 addr)
{
	struct ps_cpu *cpu = &this_machine()->cpus[current->cpu];

	ps_point(PS_POINT_OTHER, &cpu->tlb);
	spin_lock(&cpu->mmu_lock);
	ps_tlb_flush_page(&cpu->tlb, pt->asid, addr >> PAGE_SHIFT);
	spin_unlock(&cpu->mmu_lock);
}

void tlb_batch_add(struct tlb_batch *batch, struct page_tables *pt, bool writable)
{
	add_cpus(&batch->cpus, pt);
	batch->pending = true;
	batch->writable |= writable;
}

void tlb_batch_flush(struct tlb_batch *batch)
{
	if (!batch->pending)
		return;
	ps_point(PS_POINT_OTHER, batch);
	ps_tlb_shootdown_all(&batch->cpus);
	*batch = (struct tlb_batch){ .pending = false };
}
