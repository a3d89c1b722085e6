/* SPDX-License-Identifier: MIT */
/*
 * The life of anon_vmas: which VMAs belong to which, through fault, split, merge, fork and exit.
 *
 *      A forks B, B forks C; each has one VMA over the same memory
 *
 *      anon_vma a (root)   <── A's VMA, B's VMA, C's VMA      pages born before the first fork
 *      anon_vma b          <──          B's VMA, C's VMA      pages born in B
 *      anon_vma c          <──                   C's VMA      pages born in C
 *
 * Invariants
 *   A1  A VMA with an anon_vma is chained to it.
 *   A2  Every anon_vma of a VMA's chain has the same root.
 *   A3  refcount counts: one while the anon_vma has VMAs (dropped by the last unlink), one per holder; a child's life is
 *       counted in its root's refcount.
 *   A4  num_active_vmas counts the VMAs whose anon_vma it is; num_children its children, and itself for a root.
 *
 * All chains are changed under the root's rwsem; the memory is reused at once for other anon_vmas, as Linux's type-stable
 * slab does, so a lockless reader must check what it got.
 */
#include <pagesim/rmap.h>

#include <pagesim/alloc.h>
#include <pagesim/bug.h>
#include <pagesim/machine.h>
#include <pagesim/page_flags.h>
#include <pagesim/page_mapcount.h>
#include <pagesim/rcu.h>

#include "rmap/rmap_state.h"

int ps_rmap_init(struct ps_machine *machine)
{
	struct ps_rmap *rmap = ps_zalloc(sizeof(*rmap));

	if (!rmap)
		return -ENOMEM;
	ps_cache_init(&rmap->anon_vmas, "anon_vma", sizeof(struct anon_vma), true);
	ps_cache_init(&rmap->chains, "anon_vma_chain", sizeof(struct anon_vma_chain), false);
	machine->rmap = rmap;
	return 0;
}

void ps_rmap_destroy(struct ps_machine *machine)
{
	if (!machine->rmap)
		return;
	ps_cache_destroy(&machine->rmap->anon_vmas);
	ps_cache_destroy(&machine->rmap->chains);
	ps_free(machine->rmap);
	machine->rmap = NULL;
}

long ps_anon_vmas_live(void)
{
	return (long)ps_cache_live(&this_machine()->rmap->anon_vmas);
}

long ps_anon_vma_chains_live(void)
{
	return (long)ps_cache_live(&this_machine()->rmap->chains);
}

static struct anon_vma *anon_vma_alloc(void)
{
	struct anon_vma *anon_vma = ps_cache_alloc(&this_machine()->rmap->anon_vmas);

	if (!anon_vma)
		return NULL;
	anon_vma->num_children = 0;
	anon_vma->num_active_vmas = 0;
	anon_vma->parent = anon_vma;
	anon_vma->root = anon_vma;
	anon_vma->rb_root = (struct interval_tree_root)INTERVAL_TREE_ROOT_INIT;
	init_rwsem(&anon_vma->rwsem, ANON_VMA_RWSEM);
	atomic_set(&anon_vma->refcount, 1);
	return anon_vma;
}

static void anon_vma_free(struct anon_vma *anon_vma)
{
	VM_BUG_ON(atomic_read(&anon_vma->refcount));
	/*
	 * Somebody in page_lock_anon_vma's window may hold the root's lock of a dead anon_vma: let him finish. Whoever comes
	 * later sees refcount 0.
	 */
	if (rwsem_is_locked(&anon_vma->root->rwsem)) {
		anon_vma_lock_write(anon_vma);
		anon_vma_unlock_write(anon_vma);
	}
	ps_cache_free(&this_machine()->rmap->anon_vmas, anon_vma);
}

void put_anon_vma(struct anon_vma *anon_vma)
{
	struct anon_vma *root = anon_vma->root;

	if (!atomic_dec_and_test(&anon_vma->refcount))
		return;
	anon_vma_free(anon_vma);
	if (root != anon_vma && atomic_dec_and_test(&root->refcount))
		anon_vma_free(root);
}

static struct anon_vma_chain *chain_alloc(void)
{
	return ps_cache_alloc(&this_machine()->rmap->chains);
}

static void chain_free(struct anon_vma_chain *avc)
{
	ps_cache_free(&this_machine()->rmap->chains, avc);
}

static void anon_vma_tree_insert(struct anon_vma_chain *avc)
{
	avc->rb.start = avc->vma->vm_pgoff;
	avc->rb.last = avc->vma->vm_pgoff + vma_pages(avc->vma) - 1;
	interval_tree_insert(&avc->rb, &avc->anon_vma->rb_root);
}

static void anon_vma_tree_remove(struct anon_vma_chain *avc)
{
	interval_tree_remove(&avc->rb, &avc->anon_vma->rb_root);
}

/* Context: the root's rwsem for writing. */
static void chain_link(struct vm_area_struct *vma, struct anon_vma_chain *avc, struct anon_vma *anon_vma)
{
	avc->vma = vma;
	avc->anon_vma = anon_vma;
	list_add(&avc->same_vma, &vma->anon_vma_chain);
	anon_vma_tree_insert(avc);
}

/* Could these two VMAs, now neighbours, become one some day, if only they had the same anon_vma? */
static bool anon_vma_compatible(const struct vm_area_struct *a, const struct vm_area_struct *b)
{
	return a->vm_end == b->vm_start && a->vm_mapping == b->vm_mapping && a->vm_policy == b->vm_policy &&
	       !((a->vm_flags ^ b->vm_flags) & ~(VM_ACCESS_FLAGS | VM_SOFTDIRTY)) &&
	       b->vm_pgoff == a->vm_pgoff + vma_pages(a);
}

/* The anon_vma of `old`, if `a` and `b` (one of which is `old`) could merge and `old` was never forked. */
static struct anon_vma *reusable_anon_vma(struct vm_area_struct *old, struct vm_area_struct *a,
					  struct vm_area_struct *b)
{
	if (anon_vma_compatible(a, b) && old->anon_vma && list_is_singular(&old->anon_vma_chain))
		return old->anon_vma;
	return NULL;
}

static struct anon_vma *find_mergeable_anon_vma(struct vm_area_struct *vma)
{
	struct vm_area_struct *next = vma_next(vma), *prev = vma_prev(vma);
	struct anon_vma *found = NULL;

	if (next)
		found = reusable_anon_vma(next, vma, next);
	if (!found && prev)
		found = reusable_anon_vma(prev, prev, vma);
	return found;
}

int anon_vma_prepare(struct vm_area_struct *vma)
{
	struct mm_struct *mm = vma->vm_mm;
	struct anon_vma *anon_vma, *allocated = NULL;
	struct anon_vma_chain *avc;

	if (likely(READ_ONCE(vma->anon_vma)))
		return 0;
	avc = chain_alloc();
	if (!avc)
		return -ENOMEM;
	anon_vma = find_mergeable_anon_vma(vma);
	if (!anon_vma) {
		anon_vma = anon_vma_alloc();
		if (!anon_vma) {
			chain_free(avc);
			return -ENOMEM;
		}
		anon_vma->num_children++; /* a root is its own parent */
		allocated = anon_vma;
	}
	anon_vma_lock_write(anon_vma);
	/* Threads of one mm may fault on the VMA at once, under mmap_lock for reading: one of them wins. */
	spin_lock(&mm->pt.page_table_lock);
	if (likely(!vma->anon_vma)) {
		WRITE_ONCE(vma->anon_vma, anon_vma);
		chain_link(vma, avc, anon_vma);
		anon_vma->num_active_vmas++;
		allocated = NULL;
		avc = NULL;
	}
	spin_unlock(&mm->pt.page_table_lock);
	anon_vma_unlock_write(anon_vma);
	if (allocated)
		put_anon_vma(allocated);
	if (avc)
		chain_free(avc);
	return 0;
}

int anon_vma_clone(struct vm_area_struct *dst, struct vm_area_struct *src)
{
	struct anon_vma_chain *pavc;

	/* Oldest first in the list's reverse, so that dst's list ends up in the same order. */
	list_for_each_entry_reverse(pavc, &src->anon_vma_chain, same_vma)
	{
		struct anon_vma *anon_vma = pavc->anon_vma;
		struct anon_vma_chain *avc = chain_alloc();

		if (!avc)
			goto out_unlink;
		anon_vma_lock_write(anon_vma);
		chain_link(dst, avc, anon_vma);
		/*
		 * fork may take over an ancestor's anon_vma that no VMA calls its own any more and that has at most this
		 * one descendant: chains then stay short under endless forking.
		 */
		if (!dst->anon_vma && src->anon_vma && anon_vma->num_children < 2 && anon_vma->num_active_vmas == 0)
			dst->anon_vma = anon_vma;
		anon_vma_unlock_write(anon_vma);
	}
	if (dst->anon_vma) {
		anon_vma_lock_write(dst->anon_vma);
		dst->anon_vma->num_active_vmas++;
		anon_vma_unlock_write(dst->anon_vma);
	}
	return 0;

out_unlink:
	/* dst->anon_vma is not counted yet, so unlinking must not uncount it. */
	dst->anon_vma = NULL;
	unlink_anon_vmas(dst);
	return -ENOMEM;
}

int anon_vma_fork(struct vm_area_struct *vma, struct vm_area_struct *pvma)
{
	struct anon_vma_chain *avc;
	struct anon_vma *anon_vma;
	int error;

	if (!pvma->anon_vma)
		return 0;
	vma->anon_vma = NULL; /* so that clone may choose one to take over */
	error = anon_vma_clone(vma, pvma);
	if (error)
		return error;
	if (vma->anon_vma)
		return 0;
	anon_vma = anon_vma_alloc();
	avc = anon_vma ? chain_alloc() : NULL;
	if (!avc) {
		if (anon_vma)
			put_anon_vma(anon_vma);
		unlink_anon_vmas(vma);
		return -ENOMEM;
	}
	anon_vma->num_active_vmas++;
	/* The root's lock serves the whole family, so the root lives as long as any of it. */
	anon_vma->root = pvma->anon_vma->root;
	anon_vma->parent = pvma->anon_vma;
	get_anon_vma(anon_vma->root);
	vma->anon_vma = anon_vma;
	anon_vma_lock_write(anon_vma);
	chain_link(vma, avc, anon_vma);
	anon_vma->parent->num_children++;
	anon_vma_unlock_write(anon_vma);
	return 0;
}

void unlink_anon_vmas(struct vm_area_struct *vma)
{
	struct anon_vma_chain *avc, *next;
	struct anon_vma *root = NULL;

	/* First pass, under the family's lock: leave the trees; anon_vmas left without VMAs are remembered in the list. */
	list_for_each_entry_safe(avc, next, &vma->anon_vma_chain, same_vma) {
		struct anon_vma *anon_vma = avc->anon_vma;

		if (root != anon_vma->root) {
			VM_BUG_ON(root != NULL);
			root = anon_vma->root;
			down_write(&root->rwsem);
		}
		anon_vma_tree_remove(avc);
		if (interval_tree_empty(&anon_vma->rb_root)) {
			anon_vma->parent->num_children--;
			continue;
		}
		list_del(&avc->same_vma);
		chain_free(avc);
	}
	if (vma->anon_vma) {
		vma->anon_vma->num_active_vmas--;
		/* The chain is empty from here on: nothing may take the VMA for one that has an anon_vma. */
		vma->anon_vma = NULL;
	}
	if (root)
		up_write(&root->rwsem);

	/* Second pass, unlocked, because the last reference frees and freeing may have to wait for the lock. */
	list_for_each_entry_safe(avc, next, &vma->anon_vma_chain, same_vma) {
		struct anon_vma *anon_vma = avc->anon_vma;

		VM_BUG_ON(anon_vma->num_children);
		VM_BUG_ON(anon_vma->num_active_vmas);
		put_anon_vma(anon_vma);
		list_del(&avc->same_vma);
		chain_free(avc);
	}
}

void anon_vma_interval_tree_pre_update_vma(struct vm_area_struct *vma)
{
	struct anon_vma_chain *avc;

	list_for_each_entry(avc, &vma->anon_vma_chain, same_vma)
		anon_vma_tree_remove(avc);
}

void anon_vma_interval_tree_post_update_vma(struct vm_area_struct *vma)
{
	struct anon_vma_chain *avc;

	list_for_each_entry(avc, &vma->anon_vma_chain, same_vma)
		anon_vma_tree_insert(avc);
}

struct anon_vma *page_get_anon_vma(struct page *page)
{
	struct anon_vma *anon_vma = NULL;
	unsigned long word;

	rcu_read_lock();
	word = (unsigned long)READ_ONCE(compound_head(page)->mapping);
	if ((word & PAGE_MAPPING_FLAGS) != PAGE_MAPPING_ANON)
		goto out;
	if (!page_mapped(page))
		goto out;
	anon_vma = (struct anon_vma *)(word - PAGE_MAPPING_ANON);
	if (!atomic_inc_not_zero(&anon_vma->refcount)) {
		anon_vma = NULL;
		goto out;
	}
	/*
	 * If the page is still mapped the anon_vma cannot have been freed before the reference was taken. If not, it may be
	 * anybody's by now, and the reference must go back.
	 */
	if (!page_mapped(page)) {
		rcu_read_unlock();
		put_anon_vma(anon_vma);
		return NULL;
	}
out:
	rcu_read_unlock();
	return anon_vma;
}
