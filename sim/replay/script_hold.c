/* SPDX-License-Identifier: MIT */
/*
 * References a program keeps to pages: get and put (as a pipe does, vmsplice), pin and unpin (as a registered I/O buffer
 * does). They belong to the process, whichever of its threads made them.
 */
#include "replay/script_run.h"

#include <pagesim/alloc.h>
#include <pagesim/compound.h>
#include <pagesim/inode.h>

static void hold_drop(struct script_hold *hold)
{
	unsigned long i;

	for (i = 0; i < hold->nr; i++)
		put_user_page(hold->pages[i], hold->flags, false); /* neither io_uring nor a pipe marks it dirty */
	ps_free(hold->pages);
}

void script_drop_holds(struct script_space *space)
{
	while (space->holds->len) {
		hold_drop(&g_array_index(space->holds, struct script_hold, space->holds->len - 1));
		g_array_set_size(space->holds, space->holds->len - 1);
	}
}

/*
 * A buffer of a disk file cannot be registered: a device would dirty it behind its file system's back. That is found out
 * only when all its pages are there and pinned. (io_pin_pages)
 */
static bool pins_disk_file(struct mm_struct *mm, u64 addr, u64 nr)
{
	bool found = false;

	mmap_read_lock(mm);
	for (; nr && !found; nr--, addr += PAGE_SIZE) {
		struct vm_area_struct *vma = vma_lookup(mm, addr);

		found = vma && vma->vm_mapping && file_wants_mkwrite(vma->vm_mapping->host);
	}
	mmap_read_unlock(mm);
	return found;
}

static long hold(struct script_run *run, bool pin)
{
	struct script_hold held = { .flags = pin ? FOLL_PIN | FOLL_WRITE | FOLL_LONGTERM : FOLL_GET };
	struct script_span span;
	long got = 0, refused = 0;
	u64 i, wanted;

	if (!script_get_range(run, &span))
		return 0;
	/* The references lie in a pipe. Only privileges make one larger than 256 pages; it then stays as made, 16 pages. */
	wanted = !pin && current->unprivileged && span.n > 256 ? 16 : span.n;
	held.addr = span.addr;
	held.n = span.n;
	held.step = span.step;
	held.pages = ps_calloc(span.n, sizeof(*held.pages));
	if (!held.pages) {
		script_fail(run, "out of memory");
		return 0;
	}
	if (span.step == 1) {
		got = get_user_pages(script_mm(run), span.addr, wanted, held.flags, held.pages);
		held.nr = got > 0 ? (unsigned long)got : 0;
		if (pin && held.nr == span.n && pins_disk_file(script_mm(run), span.addr, span.n))
			refused = -EOPNOTSUPP;
	} else {
		for (i = 0; i < wanted; i++) {
			got = get_user_pages(script_mm(run), script_span_addr(&span, i), 1, held.flags, held.pages + i);
			if (got != 1)
				break;
			held.nr++;
			if (pin && pins_disk_file(script_mm(run), script_span_addr(&span, i), 1)) {
				refused = -EOPNOTSUPP;
				break;
			}
		}
		got = held.nr ? (long)held.nr : got;
	}
	/* A buffer is registered whole or not at all; a pipe takes what it gets. */
	if (refused || (pin && held.nr < span.n)) {
		long error = refused ? refused : got < 0 ? got : -EFAULT;

		hold_drop(&held);
		return error;
	}
	if (got <= 0) {
		ps_free(held.pages);
		return got;
	}
	g_array_append_val(run->actor->space->holds, held);
	return pin ? 0 : got;
}

static long unhold(struct script_run *run, unsigned int kind)
{
	struct script_span span;
	guint i;

	if (!script_get_range(run, &span))
		return 0;
	for (i = run->actor->space->holds->len; i-- > 0;) {
		struct script_hold *held = &g_array_index(run->actor->space->holds, struct script_hold, i);

		if ((held->flags & kind) && held->addr == span.addr && held->n == span.n && held->step == span.step) {
			hold_drop(held);
			g_array_remove_index(run->actor->space->holds, i);
			return 0;
		}
	}
	return -EINVAL;
}

long verb_get(struct script_run *run)
{
	return hold(run, false);
}

long verb_pin(struct script_run *run)
{
	return hold(run, true);
}

long verb_put(struct script_run *run)
{
	return unhold(run, FOLL_GET);
}

long verb_unpin(struct script_run *run)
{
	return unhold(run, FOLL_PIN);
}

long script_held_refs(void *opaque, const struct page *page)
{
	struct script_run *run = opaque;
	long refs = 0;
	guint i, k;

	for (i = 0; i < run->actors->len; i++) {
		struct script_actor *actor = g_ptr_array_index(run->actors, i);
		GArray *holds = actor->space->holds;

		for (k = 0; !actor->thread && k < holds->len; k++) {
			struct script_hold *hold = &g_array_index(holds, struct script_hold, k);
			unsigned long n;

			for (n = 0; n < hold->nr; n++)
				if (compound_head(hold->pages[n]) == page)
					refs += (hold->flags & FOLL_PIN) && !PageCompound(page) ? GUP_PIN_COUNTING_BIAS
												: 1;
		}
	}
	return refs;
}
