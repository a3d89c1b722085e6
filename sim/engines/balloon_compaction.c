/* SPDX-License-Identifier: MIT */
/*
 * See balloon_compaction.h. page->private_data of a page in the books is its balloon's address.
 */
#include <pagesim/balloon_compaction.h>

#include <pagesim/bug.h>
#include <pagesim/gfp.h>
#include <pagesim/page_alloc.h>
#include <pagesim/page_lock.h>
#include <pagesim/vmstat.h>

static struct balloon_dev_info *balloon_page_device(struct page *page)
{
	return (struct balloon_dev_info *)page_private(page);
}

static bool balloon_page_isolate(struct page *page)
{
	struct balloon_dev_info *b = balloon_page_device(page);

	spin_lock(&b->pages_lock);
	list_del(&page->lru);
	b->isolated_pages++;
	spin_unlock(&b->pages_lock);
	return true;
}

static void balloon_page_putback(struct page *page)
{
	struct balloon_dev_info *b = balloon_page_device(page);

	spin_lock(&b->pages_lock);
	list_add(&page->lru, &b->pages);
	b->isolated_pages--;
	spin_unlock(&b->pages_lock);
}

static int balloon_page_migrate(struct page *newpage, struct page *page, enum migrate_mode mode)
{
	struct balloon_dev_info *b = balloon_page_device(page);

	/* A copy nobody wants is no migration: the contents of a ballooned page mean nothing. */
	if (mode == MIGRATE_SYNC_NO_COPY)
		return -EINVAL;
	return b->migratepage(b, newpage, page, mode);
}

static const struct movable_operations balloon_mops = {
	.isolate_page = balloon_page_isolate,
	.migrate_page = balloon_page_migrate,
	.putback_page = balloon_page_putback,
};

void balloon_devinfo_init(struct balloon_dev_info *b)
{
	b->isolated_pages = 0;
	spin_lock_init(&b->pages_lock, DEVICE_PAGES_LOCK);
	INIT_LIST_HEAD(&b->pages);
	b->migratepage = NULL;
}

struct page *balloon_page_alloc(void)
{
	return alloc_page(GFP_HIGHUSER_MOVABLE | __GFP_NOMEMALLOC | __GFP_NORETRY | __GFP_NOWARN);
}

void balloon_page_insert(struct balloon_dev_info *b, struct page *page)
{
	__SetPageOffline(page);
	__SetPageMovable(page, &balloon_mops);
	set_page_private(page, (unsigned long)b);
	list_add(&page->lru, &b->pages);
}

void balloon_page_delete(struct page *page)
{
	__ClearPageOffline(page);
	__ClearPageMovable(page);
	set_page_private(page, 0);
	/* An isolated page is on the isolator's list. */
	if (!PageIsolated(page))
		list_del(&page->lru);
}

void balloon_page_enqueue(struct balloon_dev_info *b, struct page *page)
{
	bool locked;

	spin_lock(&b->pages_lock);
	/* Only the allocator's previous owner could have known it, and isolators look before they lock. */
	locked = trylock_page(page);
	VM_BUG_ON_PAGE(!locked, page);
	balloon_page_insert(b, page);
	unlock_page(page);
	__count_vm_event(BALLOON_INFLATE);
	spin_unlock(&b->pages_lock);
}

unsigned long balloon_page_list_dequeue(struct balloon_dev_info *b, struct list_head *pages, unsigned long nr)
{
	struct page *page, *next;
	unsigned long done = 0;

	spin_lock(&b->pages_lock);
	list_for_each_entry_safe(page, next, &b->pages, lru) {
		if (done == nr)
			break;
		if (!trylock_page(page))
			continue;
		if (PageIsolated(page)) {
			unlock_page(page);
			continue;
		}
		balloon_page_delete(page);
		__count_vm_event(BALLOON_DEFLATE);
		list_add(&page->lru, pages);
		unlock_page(page);
		done++;
	}
	spin_unlock(&b->pages_lock);
	return done;
}
