/* SPDX-License-Identifier: MIT */
/*
 * VMAs and the order they are in: finding the mapping of an address, and nothing about what mapping means.
 */
#include <pagesim/mm.h>

#include <string.h>

#include <pagesim/alloc.h>
#include <pagesim/address_space.h>
#include <pagesim/bug.h>
#include <pagesim/machine.h>
#include <pagesim/mempolicy.h>

struct vm_area_struct *vm_area_alloc(struct mm_struct *mm)
{
	struct vm_area_struct *vma = ps_zalloc(sizeof(*vma));

	if (!vma)
		return NULL;
	vma->vm_mm = mm;
	INIT_LIST_HEAD(&vma->anon_vma_chain);
	INIT_LIST_HEAD(&vma->vm_link);
	atomic_long_inc(&mm->machine->mms->nr_vmas);
	return vma;
}

struct vm_area_struct *vm_area_dup(const struct vm_area_struct *orig)
{
	struct vm_area_struct *vma = vm_area_alloc(orig->vm_mm);

	if (!vma)
		return NULL;
	*vma = *orig;
	memset(&vma->vm_node, 0, sizeof(vma->vm_node));
	memset(&vma->shared, 0, sizeof(vma->shared));
	INIT_LIST_HEAD(&vma->anon_vma_chain);
	INIT_LIST_HEAD(&vma->vm_link);
	vma->anon_vma = NULL;
	mpol_get(vma->vm_policy);
	return vma;
}

void vm_area_free(struct vm_area_struct *vma)
{
	if (!vma)
		return;
	VM_BUG_ON(!list_empty(&vma->anon_vma_chain));
	mpol_put(vma->vm_policy);
	atomic_long_dec(&vma->vm_mm->machine->mms->nr_vmas);
	ps_free(vma);
}

static struct vm_area_struct *vma_of(struct interval_tree_node *node)
{
	return node ? container_of(node, struct vm_area_struct, vm_node) : NULL;
}

struct vm_area_struct *find_vma(struct mm_struct *mm, u64 addr)
{
	return vma_of(interval_tree_iter_first(&mm->mm_vmas, addr, U64_MAX));
}

struct vm_area_struct *vma_lookup(struct mm_struct *mm, u64 addr)
{
	struct vm_area_struct *vma = find_vma(mm, addr);

	return vma && vma->vm_start <= addr ? vma : NULL;
}

struct vm_area_struct *find_vma_intersection(struct mm_struct *mm, u64 start, u64 end)
{
	struct vm_area_struct *vma = find_vma(mm, start);

	return vma && vma->vm_start < end ? vma : NULL;
}

struct vm_area_struct *vma_next(struct vm_area_struct *vma)
{
	if (list_is_last(&vma->vm_link, &vma->vm_mm->mmap))
		return NULL;
	return list_next_entry(vma, vm_link);
}

struct vm_area_struct *vma_prev(struct vm_area_struct *vma)
{
	if (list_is_first(&vma->vm_link, &vma->vm_mm->mmap))
		return NULL;
	return list_prev_entry(vma, vm_link);
}

void vma_link_tree(struct vm_area_struct *vma)
{
	struct mm_struct *mm = vma->vm_mm;
	struct vm_area_struct *next = find_vma(mm, vma->vm_start);

	VM_BUG_ON(vma->vm_start >= vma->vm_end);
	VM_BUG_ON(next && next->vm_start < vma->vm_end);
	vma->vm_node.start = vma->vm_start;
	vma->vm_node.last = vma->vm_end - 1;
	interval_tree_insert(&vma->vm_node, &mm->mm_vmas);
	list_add_tail(&vma->vm_link, next ? &next->vm_link : &mm->mmap);
	mm->map_count++;
}

void vma_unlink_tree(struct vm_area_struct *vma)
{
	struct mm_struct *mm = vma->vm_mm;

	interval_tree_remove(&vma->vm_node, &mm->mm_vmas);
	list_del_init(&vma->vm_link);
	mm->map_count--;
}

bool vma_wants_writenotify(const struct vm_area_struct *vma)
{
	if ((vma->vm_flags & (VM_WRITE | VM_SHARED)) != (VM_WRITE | VM_SHARED))
		return false;
	/* A mapping that tracks soft-dirty must see the next write. */
	if (!(vma->vm_flags & VM_SOFTDIRTY))
		return true;
	return vma->vm_mapping && mapping_can_writeback(vma->vm_mapping);
}

void vma_set_page_prot(struct vm_area_struct *vma)
{
	pgprot_t prot = PAGE_NONE;

	if (vma->vm_flags & VM_WRITE)
		prot = (vma->vm_flags & VM_SHARED) && !vma_wants_writenotify(vma) ? PAGE_SHARED : PAGE_READONLY;
	else if (vma->vm_flags & (VM_READ | VM_EXEC))
		prot = PAGE_READONLY;
	vma->vm_page_prot = prot;
}

int ps_mms_init(struct ps_machine *machine)
{
	struct ps_mms *mms = ps_zalloc(sizeof(*mms));

	if (!mms)
		return -ENOMEM;
	INIT_LIST_HEAD(&mms->list);
	spin_lock_init(&mms->lock, MM_LIST_LOCK);
	mms->next_asid = 1;
	mms->pool = page_table_pool_new(machine->pt_bits);
	if (!mms->pool) {
		ps_free(mms);
		return -ENOMEM;
	}
	machine->mms = mms;
	return 0;
}

void ps_mms_destroy(struct ps_machine *machine)
{
	if (!machine->mms)
		return;
	WARN_ON(!list_empty(&machine->mms->list));
	page_table_pool_free(machine->mms->pool);
	ps_free(machine->mms);
	machine->mms = NULL;
}

struct mm_struct *mm_alloc(struct ps_machine *machine)
{
	struct mm_struct *mm = ps_zalloc(sizeof(*mm));
	struct ps_mms *mms = machine->mms;
	u32 asid;

	if (!mm)
		return NULL;
	spin_lock(&mms->lock);
	asid = mms->next_asid++;
	spin_unlock(&mms->lock);
	if (page_tables_init(&mm->pt, mms->pool, asid)) {
		ps_free(mm);
		return NULL;
	}
	mm->machine = machine;
	atomic_set(&mm->mm_users, 1);
	init_rwsem(&mm->mmap_lock, MMAP_LOCK);
	INIT_LIST_HEAD(&mm->mmap);
	spin_lock(&mms->lock);
	list_add_tail(&mm->mmlist, &mms->list);
	spin_unlock(&mms->lock);
	return mm;
}

void mm_free(struct mm_struct *mm)
{
	struct ps_mms *mms = mm->machine->mms;
	int i;

	BUG_ON(!list_empty(&mm->mmap));
	for (i = 0; i < NR_MM_COUNTERS; i++)
		WARN_ON(get_mm_counter(mm, (enum mm_counter)i));
	page_tables_destroy(&mm->pt);
	spin_lock(&mms->lock);
	list_del(&mm->mmlist);
	spin_unlock(&mms->lock);
	ps_free(mm);
}
