/* SPDX-License-Identifier: MIT */
/*
 * See balloon.h. Pages go to the host in lots of 256, as many as one message to it names.
 */
#include <pagesim/balloon.h>

#include <pagesim/alloc.h>
#include <pagesim/machine.h>
#include <pagesim/migrate.h>
#include <pagesim/page_alloc.h>
#include <pagesim/page_lock.h>
#include <pagesim/page_ref.h>
#include <pagesim/runtime.h>
#include <pagesim/vmstat.h>

#define PAGES_PER_MESSAGE 256

static void visit_pages(struct ps_page_owner *owner, void (*fn)(void *arg, struct page *page), void *arg)
{
	struct ps_balloon *balloon = container_of(owner, struct ps_balloon, owner);
	struct page *page;

	list_for_each_entry(page, &balloon->dev.pages, lru)
		fn(arg, page);
}

/* The exchange of one page. Nothing has to be copied: the host forgets the old frame and gets the new one. */
static int balloon_migratepage(struct balloon_dev_info *dev, struct page *newpage, struct page *page,
			       enum migrate_mode mode)
{
	struct ps_balloon *balloon = container_of(dev, struct ps_balloon, dev);

	(void)mode;
	if (!mutex_trylock(&balloon->balloon_lock))
		return -EAGAIN;
	if (page_zone(page) != page_zone(newpage)) {
		adjust_managed_page_count(page, 1);
		adjust_managed_page_count(newpage, -1);
	}
	get_page(newpage);

	spin_lock(&dev->pages_lock);
	balloon_page_insert(dev, newpage);
	dev->isolated_pages--;
	__count_vm_event(BALLOON_MIGRATE);
	spin_unlock(&dev->pages_lock);

	spin_lock(&dev->pages_lock);
	balloon_page_delete(page);
	spin_unlock(&dev->pages_lock);
	mutex_unlock(&balloon->balloon_lock);

	put_page(page);
	return 0;
}

static struct ps_balloon *balloon_new(void)
{
	struct ps_balloon *balloon = ps_zalloc(sizeof(*balloon));

	if (!balloon)
		return NULL;
	balloon_devinfo_init(&balloon->dev);
	balloon->dev.migratepage = balloon_migratepage;
	mutex_init(&balloon->balloon_lock, DEVICE_MUTEX);
	balloon->owner.name = "balloon";
	balloon->owner.visit = visit_pages;
	ps_page_owner_register(&balloon->owner);
	return balloon;
}

/* Return: pages given of one message's. Allocation comes before the lock: it may wait for a migration out of the balloon. */
static unsigned long fill_balloon(struct ps_balloon *balloon, unsigned long nr)
{
	struct page *page, *next;
	unsigned long done = 0;
	LIST_HEAD(pages);

	for (; done < nr; done++) {
		ps_charge(this_machine()->costs.alloc_page_ns, PS_TIME_SYSCALL);
		page = balloon_page_alloc();
		if (!page)
			break;
		list_add(&page->lru, &pages);
	}
	mutex_lock(&balloon->balloon_lock);
	list_for_each_entry_safe(page, next, &pages, lru) {
		list_del(&page->lru);
		balloon_page_enqueue(&balloon->dev, page);
		adjust_managed_page_count(page, -1);
	}
	balloon->num_pages += done;
	mutex_unlock(&balloon->balloon_lock);
	return done;
}

static unsigned long leak_balloon(struct ps_balloon *balloon, unsigned long nr)
{
	struct page *page, *next;
	unsigned long done;
	LIST_HEAD(pages);

	mutex_lock(&balloon->balloon_lock);
	done = balloon_page_list_dequeue(&balloon->dev, &pages, nr);
	balloon->num_pages -= done;
	mutex_unlock(&balloon->balloon_lock);
	list_for_each_entry_safe(page, next, &pages, lru) {
		list_del(&page->lru);
		adjust_managed_page_count(page, 1);
		ps_charge(this_machine()->costs.free_page_ns, PS_TIME_SYSCALL);
		put_page(page);
	}
	return done;
}

long ps_balloon_inflate(unsigned long nr)
{
	struct ps_engines *engines = this_machine()->engines;
	unsigned long done = 0;

	if (!engines->balloon)
		engines->balloon = balloon_new();
	if (!engines->balloon)
		return -ENOMEM;
	while (done < nr) {
		unsigned long want = ps_min(nr - done, (unsigned long)PAGES_PER_MESSAGE);
		unsigned long got = fill_balloon(engines->balloon, want);

		done += got;
		if (got < want)
			break;
		cond_resched();
	}
	return (long)done;
}

long ps_balloon_deflate(unsigned long nr)
{
	struct ps_balloon *balloon = this_machine()->engines->balloon;
	unsigned long done = 0;

	while (balloon && done < nr) {
		unsigned long got = leak_balloon(balloon, ps_min(nr - done, (unsigned long)PAGES_PER_MESSAGE));

		if (!got)
			break;
		done += got;
		cond_resched();
	}
	return (long)done;
}

unsigned long ps_balloon_pages(const struct ps_machine *machine)
{
	return machine->engines->balloon ? machine->engines->balloon->num_pages : 0;
}

void ps_balloon_destroy(struct ps_machine *machine)
{
	struct ps_balloon *balloon = machine->engines ? machine->engines->balloon : NULL;

	if (!balloon)
		return;
	ps_balloon_deflate(balloon->num_pages);
	ps_page_owner_unregister(&balloon->owner);
	machine->engines->balloon = NULL;
	ps_free(balloon);
}
