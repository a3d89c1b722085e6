/* SPDX-License-Identifier: MIT */
/*
 * The system call exchange_pages: which pages two lists of addresses name, and what is told about each pair. Every pair that
 * can be isolated waits on one list and is exchanged at the end; a pair that cannot has its status at once.
 */
#include <pagesim/exchange.h>

#include <pagesim/alloc.h>
#include <pagesim/gup.h>
#include <pagesim/lru.h>
#include <pagesim/machine.h>
#include <pagesim/migrate.h>
#include <pagesim/mm.h>
#include <pagesim/page_flags.h>
#include <pagesim/page_mapcount.h>
#include <pagesim/page_ref.h>
#include <pagesim/runtime.h>

/* What one line of the caller's list came to. */
struct line {
	struct exchange_pair pair;
	struct line *of; /* the line whose pair it belongs to: itself, or the one that named the same two huge pages */
};

/* The page at an address, by its head and with a reference. Return: 0; or the status of its pair. */
static int look_up(struct mm_struct *mm, u64 addr, bool all, struct page **ret_page)
{
	struct vm_area_struct *vma;
	struct page *page = NULL;
	int error = -EFAULT;

	mmap_read_lock(mm);
	vma = vma_lookup(mm, addr);
	if (vma)
		error = follow_page(vma, addr, FOLL_GET | FOLL_DUMP, &page);
	mmap_read_unlock(mm);
	if (error)
		return error;
	if (!page)
		return -ENOENT;
	if (page_mapcount(page) > 1 && !all) {
		put_page(page);
		return -EACCES;
	}
	*ret_page = compound_head(page);
	return 0;
}

/* Isolates both pages, of which the caller has references. Return: 0; -EBUSY with neither isolated. */
static int isolate_pair(struct exchange_pair *pair)
{
	LIST_HEAD(from);
	LIST_HEAD(to);
	int error = isolate_page_for_migration(pair->from, &from);

	if (error)
		return error;
	error = isolate_page_for_migration(pair->to, &to);
	if (error) {
		putback_movable_pages(&from);
		return error;
	}
	list_del(&pair->from->lru);
	list_del(&pair->to->lru);
	return 0;
}

/* Return: 0, line->of is set; or the status. @last: the last line with a pair of its own; may be NULL. */
static int take_pair(struct line *line, struct line *last, struct mm_struct *from_mm, struct mm_struct *to_mm,
		     const struct ps_exchange *x, bool all)
{
	struct page *from, *to;
	int error = look_up(from_mm, x->from, all, &from);

	if (error)
		return error;
	error = look_up(to_mm, x->to, all, &to);
	if (error)
		goto out_from;
	line->pair = (struct exchange_pair){ .from = from, .to = to };
	line->of = line;
	if (last && PageHead(from) && last->pair.from == from && last->pair.to == to)
		line->of = last;
	else
		error = isolate_pair(&line->pair);
	put_page(to);
out_from:
	put_page(from);
	return error;
}

long ps_exchange_pages(struct mm_struct *from_mm, struct mm_struct *to_mm, struct ps_exchange *exchanges,
		       unsigned long nr, enum migrate_mode mode, bool all)
{
	struct line *lines, *last = NULL;
	unsigned long i;
	long failed = 0;
	LIST_HEAD(list);

	ps_charge(this_machine()->costs.syscall_ns, PS_TIME_SYSCALL);
	if (all && current->unprivileged)
		return -EPERM;
	lines = ps_alloc((nr ? nr : 1) * sizeof(*lines));
	if (!lines)
		return -ENOMEM;
	lru_cache_disable();
	for (i = 0; i < nr; i++) {
		struct line *line = &lines[i];

		exchanges[i].status = take_pair(line, last, from_mm, to_mm, &exchanges[i], all);
		if (!exchanges[i].status && line->of == line) {
			list_add_tail(&line->pair.list, &list);
			last = line;
		}
	}
	exchange_pages(&list, mode);
	for (i = 0; i < nr; i++) {
		const struct exchange_pair *pair = exchanges[i].status ? NULL : &lines[i].of->pair;

		/* The frame of `to` holds the page of `from` now. */
		if (pair)
			exchanges[i].status = pair->status ? pair->status : page_to_nid(pair->to);
		failed += exchanges[i].status < 0;
	}
	lru_cache_enable();
	ps_free(lines);
	return failed;
}
