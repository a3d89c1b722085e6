/* SPDX-License-Identifier: MIT */
/* The shadow of a script's programs; see shadow.h. */
#include "shadow.h"

#include <stdlib.h>
#include <string.h>

#include <glib.h>

enum sure { SURE, OR_ZERO, ANYTHING };

struct word {
	u64 value;
	enum sure sure;
};

/* A file, or shared anonymous memory. Lives until the shadow is freed. */
struct object {
	char *path; /* NULL: anonymous */
	bool tmpfs; /* its huge pages may be mapped whole though the file ends within */
	bool size_unsure;
	u64 size; /* pages */
	GArray *words;
};

enum page_kind { HOLE, MAPPED, UNSURE };

struct page_state {
	enum page_kind kind;
	u32 prot;
	bool shared;
	bool own;       /* holds its own word; anonymous private pages always */
	bool maybe_own; /* something copied it, or did not: a private file page */
	bool dontfork;
	struct object *object; /* NULL: private anonymous */
	u64 index;             /* page of the object */
	struct word word;      /* if own */
};

struct region {
	char *name;
	u64 pages; /* that can be named */
	u64 at;
	GArray *page; /* of struct page_state */
};

struct space {
	unsigned int users;
	GPtrArray *regions;
};

struct actor {
	char *name;
	bool thread;
	struct space *space;
};

struct shadow {
	u64 huge;
	GPtrArray *actors, *objects;
	/* The statement under way. */
	const struct ps_statement *st;
	struct actor *me;
	char *complaint;
	/* What it printed. */
	bool has_ret;
	long ret;
	char error[16]; /* errno name, "" when it did not fail */
	bool faulted, sigbus;
	u64 fault_page;
};

static void G_GNUC_PRINTF(2, 3) complain(struct shadow *s, const char *format, ...)
{
	va_list args;

	if (s->complaint)
		return;
	va_start(args, format);
	s->complaint = g_strdup_vprintf(format, args);
	va_end(args);
}

/* ---- words */

/* As the trace language has it: of the value and the page's number. */
static u64 word_of(u64 value, u64 page)
{
	u64 x = (value + 1) * 0x9E3779B97F4A7C15ULL ^ (page + 1) * 0xC2B2AE3D27D4EB4FULL;

	return x ? x : 1;
}

static struct word *object_word(struct object *object, u64 index)
{
	if (index >= object->words->len)
		g_array_set_size(object->words, (guint)index + 1);
	return &g_array_index(object->words, struct word, index);
}

static struct word zero_word(void)
{
	return (struct word){ 0 };
}

static struct word any_word(void)
{
	return (struct word){ .sure = ANYTHING };
}

static struct word content(const struct page_state *p)
{
	if (p->maybe_own)
		return any_word();
	if (p->own || !p->object)
		return p->word;
	return *object_word(p->object, p->index);
}

/* ---- names */

static struct actor *find_actor(struct shadow *s, const char *name)
{
	guint i;

	for (i = 0; i < s->actors->len; i++) {
		struct actor *actor = g_ptr_array_index(s->actors, i);

		if (!strcmp(actor->name, name))
			return actor;
	}
	return NULL;
}

static struct region *find_region(const struct space *space, const char *name)
{
	guint i;

	for (i = 0; i < space->regions->len; i++) {
		struct region *region = g_ptr_array_index(space->regions, i);

		if (!strcmp(region->name, name))
			return region;
	}
	return NULL;
}

static struct region *make_region(struct space *space, const char *name, u64 pages, u64 at)
{
	struct region *region = find_region(space, name);

	if (!region) {
		region = g_new0(struct region, 1);
		region->name = g_strdup(name);
		region->page = g_array_new(FALSE, TRUE, sizeof(struct page_state));
		g_ptr_array_add(space->regions, region);
	}
	region->pages = pages;
	region->at = at;
	if (region->page->len < pages)
		g_array_set_size(region->page, (guint)pages);
	return region;
}

static struct page_state *page_of(struct region *region, u64 i)
{
	if (i >= region->page->len)
		g_array_set_size(region->page, (guint)i + 1);
	return &g_array_index(region->page, struct page_state, i);
}

static struct object *find_file(struct shadow *s, const char *path, bool make)
{
	struct object *object;
	guint i;

	for (i = 0; path && i < s->objects->len; i++) {
		object = g_ptr_array_index(s->objects, i);
		if (object->path && !strcmp(object->path, path))
			return object;
	}
	if (!make)
		return NULL;
	object = g_new0(struct object, 1);
	object->path = g_strdup(path);
	object->tmpfs = !path || !strncmp(path, "/t/", 3);
	object->words = g_array_new(FALSE, TRUE, sizeof(struct word));
	g_ptr_array_add(s->objects, object);
	return object;
}

static void space_put(struct space *space)
{
	guint i;

	if (--space->users)
		return;
	for (i = 0; i < space->regions->len; i++) {
		struct region *region = g_ptr_array_index(space->regions, i);

		g_array_free(region->page, TRUE);
		g_free(region->name);
		g_free(region);
	}
	g_ptr_array_free(space->regions, TRUE);
	g_free(space);
}

static void add_actor(struct shadow *s, const char *name, struct space *space, bool thread)
{
	struct actor *actor = g_new0(struct actor, 1);

	actor->name = g_strdup(name);
	actor->space = space;
	actor->thread = thread;
	g_ptr_array_add(s->actors, actor);
}

static void drop_actor(struct shadow *s, struct actor *actor)
{
	space_put(actor->space);
	g_free(actor->name);
	g_ptr_array_remove(s->actors, actor);
	g_free(actor);
}

struct shadow *shadow_new(u64 huge_pages)
{
	struct shadow *s = g_new0(struct shadow, 1);

	s->huge = huge_pages;
	s->actors = g_ptr_array_new();
	s->objects = g_ptr_array_new();
	return s;
}

void shadow_free(struct shadow *s)
{
	guint i;

	if (!s)
		return;
	while (s->actors->len)
		drop_actor(s, g_ptr_array_index(s->actors, s->actors->len - 1));
	for (i = 0; i < s->objects->len; i++) {
		struct object *object = g_ptr_array_index(s->objects, i);

		g_array_free(object->words, TRUE);
		g_free(object->path);
		g_free(object);
	}
	g_ptr_array_free(s->actors, TRUE);
	g_ptr_array_free(s->objects, TRUE);
	g_free(s);
}

/* ---- what the statement printed */

static void read_transcript(struct shadow *s, const char *text)
{
	const char *at = strstr(text, "\n  = ");
	const char *fault = strstr(text, "\n  fault: [");

	s->has_ret = s->faulted = s->sigbus = false;
	s->ret = 0;
	s->error[0] = '\0';
	if (at) {
		at += strlen("\n  = ");
		s->has_ret = true;
		if (*at == '-') {
			g_strlcpy(s->error, at + 1, sizeof(s->error));
			s->error[strcspn(s->error, "\n")] = '\0';
			s->ret = -1;
		} else {
			s->ret = strtol(at, NULL, 10);
		}
	}
	if (fault) {
		s->faulted = true;
		s->fault_page = strtoull(fault + strlen("\n  fault: ["), NULL, 10);
		s->sigbus = strstr(fault, "SIGBUS") != NULL;
	}
}

static bool failed_with(const struct shadow *s, const char *error)
{
	return !strcmp(s->error, error);
}

/* ---- ranges */

struct span {
	struct region *region;
	u64 first, n, step;
};

static bool get_span(struct shadow *s, const struct ps_range *range, struct span *ret)
{
	struct region *region = find_region(s->me->space, range->name);

	if (!region)
		return false;
	ret->region = region;
	ret->first = range->whole ? 0 : range->first;
	ret->step = range->whole ? 1 : range->step;
	ret->n = ps_range_pages(range, region->pages);
	return true;
}

static u64 span_number(const struct span *span, u64 i)
{
	return span->first + i * span->step;
}

static struct page_state *span_page(const struct span *span, u64 i)
{
	return page_of(span->region, span_number(span, i));
}

static void make_unsure(struct page_state *p)
{
	memset(p, 0, sizeof(*p));
	p->kind = UNSURE;
}

/* ---- verbs */

static void do_mmap(struct shadow *s)
{
	const struct ps_statement *st = s->st;
	struct region *region = find_region(s->me->space, st->name);
	u64 pages = st->bytes >> PAGE_SHIFT, i;
	struct object *object = NULL;
	bool shared = st->map & PS_MAP_SHARED;

	if (st->path && !failed_with(s, "EACCES")) {
		object = find_file(s, st->path, true);
		if (*s->error && !failed_with(s, "EEXIST"))
			object->size_unsure = true;
		else
			object->size = ps_max(object->size, st->number + pages);
	}
	if (*s->error) {
		if (!failed_with(s, "EEXIST") || !region)
			return;
		for (i = 0; i < ps_min(pages, (u64)region->page->len); i++)
			if (page_of(region, i)->kind != HOLE)
				return;
		/* A region that is mapped may lie elsewhere in the same slot only on machines of few pages: not here. */
		complain(s, "nothing is mapped at %s, yet mmap finds something there", st->name);
		return;
	}
	region = make_region(s->me->space, st->name, pages, st->number);
	if (shared && !st->path) {
		object = find_file(s, NULL, true);
		object->size = pages;
	}
	for (i = 0; i < pages; i++) {
		struct page_state *p = page_of(region, i);

		if (p->kind == MAPPED)
			complain(s, "page %lu of %s is mapped, yet mmap finds nothing there", (unsigned long)i,
				 st->name);
		memset(p, 0, sizeof(*p));
		p->kind = MAPPED;
		p->prot = st->prot;
		p->shared = shared;
		p->object = object;
		p->index = st->number + i;
		p->own = !object;
		p->maybe_own = object && !shared && (st->map & PS_MAP_POPULATE) && (st->prot & PS_PROT_WRITE);
	}
}

static void do_munmap(struct shadow *s, const struct span *span)
{
	u64 i;

	for (i = 0; i < span->n; i++) {
		if (*s->error)
			make_unsure(span_page(span, i));
		else
			memset(span_page(span, i), 0, sizeof(struct page_state));
	}
}

/* Page by page until the first hole, which makes it -ENOMEM. */
static void do_mprotect(struct shadow *s, const struct span *span)
{
	bool lost = *s->error && !failed_with(s, "ENOMEM"), unsure = false, hole = false;
	u64 i;

	for (i = 0; i < span->n; i++) {
		struct page_state *p = span_page(span, i);

		if (p->kind == UNSURE || (p->kind == HOLE && hole))
			unsure |= p->kind == UNSURE;
		else if (p->kind == HOLE)
			hole = true;
		else if (lost || (*s->error && unsure))
			make_unsure(p);
		else if (!hole)
			p->prot = s->st->prot;
	}
	if (!*s->error && hole)
		complain(s, "mprotect of a hole succeeded");
	/* Out of memory for the pieces of a VMA: which pages were done is not known. */
	if (failed_with(s, "ENOMEM") && !hole)
		for (i = 0; i < span->n; i++)
			make_unsure(span_page(span, i));
}

static void do_mremap(struct shadow *s, const struct span *from)
{
	struct span to;
	u64 i;

	if (!get_span(s, &s->st->other, &to))
		return;
	for (i = 0; i < from->n; i++) {
		struct page_state *src = page_of(from->region, from->first + i);
		struct page_state *dst = page_of(to.region, to.first + i);

		if (*s->error) {
			if (dst->kind == MAPPED)
				make_unsure(dst);
			if (!failed_with(s, "EFAULT"))
				make_unsure(src), make_unsure(dst);
			continue;
		}
		if (src->kind == HOLE)
			complain(s, "mremap moved page %lu of %s, a hole", (unsigned long)(from->first + i),
				 from->region->name);
		*dst = *src;
		memset(src, 0, sizeof(*src));
	}
	if (!*s->error && (from->region->at || to.region->at))
		to.region->at = from->region->at + from->first - to.first;
}

static void do_madvise(struct shadow *s, const struct span *span)
{
	bool all = !*s->error || (failed_with(s, "ENOMEM") && span->step == 1);
	u64 i;

	for (i = 0; i < span->n; i++) {
		struct page_state *p = span_page(span, i);

		if (p->kind != MAPPED)
			continue;
		switch (s->st->advice) {
		case PS_ADVICE_DONTFORK:
		case PS_ADVICE_DOFORK:
			if (all)
				p->dontfork = s->st->advice == PS_ADVICE_DONTFORK;
			else
				make_unsure(p);
			break;
		case PS_ADVICE_DONTNEED:
			if (p->shared)
				break;
			if (all) {
				p->own = !p->object;
				p->maybe_own = false;
				p->word = zero_word();
			} else if (!p->object) {
				p->word.sure = p->word.sure == SURE && !p->word.value ? SURE
					       : p->word.sure == ANYTHING             ? ANYTHING
										      : OR_ZERO;
			} else {
				p->maybe_own |= p->own;
			}
			break;
		case PS_ADVICE_FREE:
			if (!p->object && p->word.sure == SURE && p->word.value)
				p->word.sure = OR_ZERO;
			break;
		case PS_ADVICE_REMOVE:
			if (!p->object || !p->shared)
				break;
			if (all)
				*object_word(p->object, p->index) = zero_word();
			else if (object_word(p->object, p->index)->sure == SURE)
				object_word(p->object, p->index)->sure = OR_ZERO;
			break;
		case PS_ADVICE_POPULATE_WRITE:
			p->maybe_own |= p->object && !p->shared && !p->own;
			break;
		default:
			break;
		}
	}
}

/* What a private file page holds may be copied by these without a store. */
static void do_write_faults(const struct span *span)
{
	u64 i;

	for (i = 0; i < span->n; i++) {
		struct page_state *p = span_page(span, i);

		p->maybe_own |= p->kind == MAPPED && p->object && !p->shared && !p->own;
	}
}

enum access { ACCESS_OK, ACCESS_SEGV, ACCESS_BUS, ACCESS_UNSURE };

static enum access access_of(const struct shadow *s, const struct page_state *p, bool write)
{
	struct object *object = p->object;

	if (p->kind == UNSURE)
		return ACCESS_UNSURE;
	if (p->kind == HOLE || !(write ? p->prot & PS_PROT_WRITE : p->prot))
		return ACCESS_SEGV;
	if (!object || p->own || p->index < object->size)
		return ACCESS_OK;
	if (p->maybe_own || object->size_unsure ||
	    (object->tmpfs && p->index < (object->size + s->huge - 1) / s->huge * s->huge))
		return ACCESS_UNSURE;
	return ACCESS_BUS;
}

static void do_touch(struct shadow *s, const struct span *span)
{
	bool write = s->st->verb == PS_VERB_STORE;
	u64 i, least = 0, most = 0;

	for (i = 0; i < span->n && !s->complaint; i++) {
		u64 number = span_number(span, i);
		struct page_state *p = span_page(span, i);
		enum access access = access_of(s, p, write);
		struct word word = { .value = word_of(s->st->value, span->region->at + number) };

		if (s->faulted && number == s->fault_page) {
			if (access != ACCESS_UNSURE && access != (s->sigbus ? ACCESS_BUS : ACCESS_SEGV))
				complain(s, "page %lu of %s faults, and should not", (unsigned long)number,
					 span->region->name);
			return;
		}
		if (access == ACCESS_SEGV || access == ACCESS_BUS) {
			complain(s, "page %lu of %s does not fault, and should", (unsigned long)number,
				 span->region->name);
			return;
		}
		if (p->kind != MAPPED) {
			most++;
			continue;
		}
		if (!write) {
			struct word is = content(p);

			if (is.sure == ANYTHING || (is.sure == OR_ZERO && is.value == word.value))
				most++;
			else if (is.value != word.value)
				least++, most++;
		} else if (p->object && p->shared) {
			/* Beyond the end nobody promises anything. */
			*object_word(p->object, p->index) = access == ACCESS_OK ? word : any_word();
		} else {
			p->own = true;
			p->maybe_own = false;
			p->word = word;
		}
	}
	if (s->faulted && !s->complaint)
		complain(s, "page %lu of %s faults, and was not touched", (unsigned long)s->fault_page,
			 span->region->name);
	if (s->st->verb == PS_VERB_CHECK && ((u64)s->ret < least || (u64)s->ret > most))
		complain(s, "%ld pages hold something else, and %lu%s should", s->ret, (unsigned long)least,
			 least == most ? "" : " or more");
}

static void truncate_pages(struct shadow *s, const struct object *object, u64 size)
{
	guint i, k, n;

	for (i = 0; i < s->actors->len; i++) {
		const struct actor *actor = g_ptr_array_index(s->actors, i);

		for (k = 0; k < actor->space->regions->len; k++) {
			struct region *region = g_ptr_array_index(actor->space->regions, k);

			for (n = 0; n < region->page->len; n++) {
				struct page_state *p = page_of(region, n);

				if (p->kind == MAPPED && p->object == object && p->index >= size)
					p->own = p->maybe_own = false;
			}
		}
	}
}

static void do_file(struct shadow *s)
{
	const struct ps_statement *st = s->st;
	struct object *object = find_file(s, st->range.name, false);
	u64 first = st->range.whole ? 0 : st->range.first, step = st->range.whole ? 1 : st->range.step, i, n;

	if (!object && (st->verb != PS_VERB_PWRITE || failed_with(s, "EACCES"))) {
		if (!*s->error)
			complain(s, "%s is not there, and was found", st->range.name);
		return;
	}
	if (!object)
		object = find_file(s, st->range.name, true);
	n = ps_range_pages(&st->range, object->size);
	switch (st->verb) {
	case PS_VERB_PWRITE:
		if (failed_with(s, "EACCES"))
			return;
		for (i = 0; i < n; i++) {
			u64 index = first + i * step;

			*object_word(object, index) =
				*s->error ? any_word() : (struct word){ .value = word_of(st->value, index) };
			if (!*s->error)
				object->size = ps_max(object->size, index + 1);
		}
		object->size_unsure |= *s->error != '\0';
		if (!*s->error && (u64)s->ret != n)
			complain(s, "%ld of %lu pages were written", s->ret, (unsigned long)n);
		return;
	case PS_VERB_PREAD:
		for (i = 0; i < n && first + i * step < object->size;)
			i++;
		if (!*s->error && !object->size_unsure && (u64)s->ret != i)
			complain(s, "%ld of %lu pages were read", s->ret, (unsigned long)i);
		return;
	case PS_VERB_TRUNCATE:
		if (*s->error) {
			object->size_unsure |= !failed_with(s, "EACCES");
			return;
		}
		for (i = st->number; i < object->words->len; i++)
			*object_word(object, i) = zero_word();
		if (st->number < object->size || object->size_unsure)
			truncate_pages(s, object, st->number);
		object->size = st->number;
		object->size_unsure = false;
		return;
	default:
		return;
	}
}

static void do_fork(struct shadow *s)
{
	struct space *space;
	guint i, n;

	if (*s->error)
		return;
	if (s->st->verb == PS_VERB_THREAD) {
		s->me->space->users++;
		add_actor(s, s->st->name, s->me->space, true);
		return;
	}
	space = g_new0(struct space, 1);
	space->users = 1;
	space->regions = g_ptr_array_new();
	for (i = 0; i < s->me->space->regions->len; i++) {
		struct region *old = g_ptr_array_index(s->me->space->regions, i);
		struct region *copy = make_region(space, old->name, old->pages, old->at);

		for (n = 0; n < old->page->len; n++) {
			*page_of(copy, n) = *page_of(old, n);
			if (page_of(copy, n)->dontfork)
				memset(page_of(copy, n), 0, sizeof(struct page_state));
		}
	}
	add_actor(s, s->st->name, space, false);
}

static void do_exit(struct shadow *s)
{
	struct space *space = s->me->space;
	bool whole = !s->me->thread;
	guint i;

	drop_actor(s, s->me);
	for (i = s->actors->len; whole && i-- > 0;) {
		struct actor *other = g_ptr_array_index(s->actors, i);

		if (other->space == space)
			drop_actor(s, other);
	}
}

char *shadow_step(struct shadow *s, const struct ps_statement *st, const char *transcript)
{
	struct span span;
	char *complaint;

	s->st = st;
	s->me = st->subject && *st->subject ? find_actor(s, st->subject) : NULL;
	read_transcript(s, transcript);
	if (st->verb == PS_VERB_START) {
		struct space *space = g_new0(struct space, 1);

		space->users = 1;
		space->regions = g_ptr_array_new();
		add_actor(s, st->subject, space, false);
		return NULL;
	}
	if (!s->me)
		return NULL;
	switch (st->verb) {
	case PS_VERB_FORK:
	case PS_VERB_THREAD:
		do_fork(s);
		break;
	case PS_VERB_EXIT:
		do_exit(s);
		break;
	case PS_VERB_MMAP:
		do_mmap(s);
		break;
	case PS_VERB_RESERVE:
		make_region(s->me->space, st->name, st->bytes >> PAGE_SHIFT, 0);
		break;
	case PS_VERB_PREAD:
	case PS_VERB_PWRITE:
	case PS_VERB_TRUNCATE:
		do_file(s);
		break;
	case PS_VERB_MUNMAP:
	case PS_VERB_MPROTECT:
	case PS_VERB_MREMAP:
	case PS_VERB_MADVISE:
	case PS_VERB_MLOCK:
	case PS_VERB_PIN:
	case PS_VERB_LOAD:
	case PS_VERB_STORE:
	case PS_VERB_CHECK:
		if (!get_span(s, &st->range, &span))
			break;
		if (st->verb == PS_VERB_MUNMAP)
			do_munmap(s, &span);
		else if (st->verb == PS_VERB_MPROTECT)
			do_mprotect(s, &span);
		else if (st->verb == PS_VERB_MREMAP)
			do_mremap(s, &span);
		else if (st->verb == PS_VERB_MADVISE)
			do_madvise(s, &span);
		else if (st->verb == PS_VERB_MLOCK || st->verb == PS_VERB_PIN)
			do_write_faults(&span);
		else
			do_touch(s, &span);
		break;
	default:
		break;
	}
	complaint = s->complaint;
	s->complaint = NULL;
	return complaint;
}
