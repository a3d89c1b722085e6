/* SPDX-License-Identifier: MIT */
/*
 * What is in a frame. Replay does not care (`none`); race tests and checkers want to see a lost write or foreign bytes,
 * for which one 64-bit token per frame is enough (`tag`); stress tests and copy benchmarks want real memory (`bytes`).
 * Migration, COW and faults call the same functions whichever it is. A frame given back to the allocator has its token
 * poisoned, so that reading a freed frame shows; a new frame is poison until it is cleared, copied to, or written.
 *
 * Costs in simulated time are the callers': they know how the copying is done.
 *
 * Layer: page
 */
#ifndef PAGESIM_CONTENTS_H
#define PAGESIM_CONTENTS_H

#include <pagesim/page.h>

#ifdef __cplusplus
extern "C" {
#endif

enum ps_contents {
	PS_CONTENTS_NONE,  /* every read is 0 */
	PS_CONTENTS_TAG,   /* struct page.contents is the first word; the rest of the page is not kept */
	PS_CONTENTS_BYTES, /* struct page.contents is the address of PAGE_SIZE bytes */
	PS_NR_CONTENTS
};

/** Token of a frame that belongs to nobody. */
#define PS_CONTENTS_POISON 0x6b6b6b6b6b6b6b6bULL

/** What the running machine keeps. */
enum ps_contents ps_contents_mode(void);
/** "none", "tag", "bytes"; NULL for no such mode. */
const char *ps_contents_name(enum ps_contents mode);

/** Copy a frame. **Context:** both pages are the caller's (locked, frozen or unmapped). One load and one store. */
void copy_highpage(struct page *dst, struct page *src);
/** Copy the frames of a compound page (or nr frames in a row). */
void copy_huge_page(struct page *dst, struct page *src, unsigned long nr);
/** Fill a frame with zeroes. */
void clear_highpage(struct page *page);
void clear_huge_page(struct page *page, unsigned long nr);
/** Exchange the contents of two frames, word by word. */
void exchange_highpage(struct page *a, struct page *b);

/** First word of a frame, as a program reads it. One schedule point; 0 with contents `none`. */
u64 page_word_read(const struct page *page);
/** Write the first word, as a program does. */
void page_word_write(struct page *page, u64 value);

/** Address of a frame's bytes, NULL unless contents are `bytes`. */
void *page_address(const struct page *page);

#ifdef __cplusplus
}
#endif
#endif
