/* SPDX-License-Identifier: MIT */
/* The generator of random scripts: a task, a verb of the script's themes, a range of a region; see generate.h. */
#include "generate.h"

#include <stdio.h>
#include <string.h>

#include <glib.h>

#include <pagesim/machine_file.h>
#include <pagesim/rng.h>
#include <pagesim/script.h>
#include <pagesim/trace_text.h>

/* clang-format off */
#define THEMES(X) \
	X(THP) X(FILE) X(DISK) X(PRIVATE) X(SHARED) X(MLOCK) X(PIN) X(GET) X(POLICY) X(REMAP) X(LAZY) X(CUT) X(INTERLEAVE) \
	X(HUGEFILE) X(PROT) X(THREADS) X(SOFT) X(CACHES) X(TRUNCATE) X(HOLES) X(SMAPS) X(ERRORS) X(POOR) X(FORKFLAGS) X(SWAP) \
	X(COLLAPSE) X(PRESSURE) X(EXCHANGE) X(SETTINGS)
enum theme {
#define THEME_ENUM(name) T_##name,
	THEMES(THEME_ENUM)
	NR_THEMES
};
static const char *const theme_names[] = {
#define THEME_NAME(name) #name,
	THEMES(THEME_NAME)
};
/* clang-format on */

/* The machine of script n is number n modulo their count. Small ones have huge pages of few pages. */
static const struct {
	const char *what;
	bool tight; /* programs of a few regions may need more than there is */
} machines[] = {
	{ "linux-6.1,bits=3,0=4M,1=4M,2=4M,min-free=32", false },
	{ "tiny,0=256K,1=256K", true },
	{ "linux-6.1", false },
	{ "two-node,bits=2,0=2M,1=2M,min-free=32", false },
	{ "linux-6.1,bits=3,0=320K,1=320K,2=320K,min-free=32", true },
	{ "four-socket,bits=4,0=4M,1=4M,2=4M,3=4M,min-free=32", false },
	{ "dram-cxl,bits=3,0=4M,1=4M,min-free=32", false },
	{ "one-node,bits=3,0=2M,min-free=32", false },
};

enum region_kind { KIND_ANON, KIND_THP, KIND_SHARED, KIND_FILE, KIND_HUGEFILE, KIND_RESERVED };

struct region {
	char name[16];
	u64 pages;
	enum region_kind kind;
};

#define MAX_REGIONS 24
#define MAX_TASKS   5
#define MAX_HOLDS   24
#define MAX_FILES   5

struct space {
	unsigned int users;
	bool threaded; /* has ever had a second thread */
	struct region region[MAX_REGIONS];
	unsigned int nr_regions;
	struct {
		bool pin;
		char span[64];
	} hold[MAX_HOLDS];
	unsigned int nr_holds;
};

struct actor {
	bool used, thread, unprivileged;
	struct space *space;
};

struct generator {
	const struct random_settings *settings;
	struct ps_rng rng;
	GString *out;
	u32 themes;
	u64 huge;      /* pages of a huge page */
	u64 max_pages; /* of a region */
	unsigned int max_names, nr_names, nr_nodes, nr_cpus;
	struct actor actor[MAX_TASKS]; /* A, B, ... */
	struct {
		char path[8];
		u64 pages;
		bool written;
	} file[MAX_FILES];
	unsigned int nr_files;
	u64 value;
	char spans[4][64];
	unsigned int next_span;
	u64 ballooned;
};

static u64 pick(struct generator *g, u64 bound)
{
	return ps_rng_below(&g->rng, bound);
}

static bool chance(struct generator *g, unsigned int percent)
{
	return pick(g, 100) < percent;
}

static bool has(const struct generator *g, enum theme theme)
{
	return g->themes >> theme & 1;
}

static bool word(const struct generator *g, enum random_word w)
{
	return g->settings->words >> w & 1;
}

static void G_GNUC_PRINTF(2, 3) say(struct generator *g, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	g_string_append_vprintf(g->out, format, args);
	va_end(args);
	g_string_append_c(g->out, '\n');
}

/* ---- who, where */

static char name_of(unsigned int t)
{
	return (char)('A' + t);
}

static unsigned int pick_task(struct generator *g)
{
	unsigned int t;

	do
		t = (unsigned int)pick(g, MAX_TASKS);
	while (!g->actor[t].used);
	return t;
}

/* A region of the task that may be mapped, or NULL. Newer ones are as likely as all older ones together. */
static struct region *pick_region(struct generator *g, unsigned int t)
{
	struct space *space = g->actor[t].space;

	if (!space->nr_regions)
		return NULL;
	if (chance(g, 30))
		return &space->region[space->nr_regions - 1];
	return &space->region[pick(g, space->nr_regions)];
}

/* A page number of a region of n pages, often an edge. */
static u64 edge(struct generator *g, u64 n)
{
	u64 h = g->huge, at;

	if (n <= h || chance(g, 30))
		return pick(g, n);
	switch (pick(g, 10)) {
	case 0:
		at = 0;
		break;
	case 1:
		at = 1;
		break;
	case 2:
		at = h / 2;
		break;
	case 3:
		at = h - 1;
		break;
	case 4:
	case 5:
		at = h;
		break;
	case 6:
		at = h + 1;
		break;
	case 7:
		at = n - 1;
		break;
	case 8:
		at = n / 2;
		break;
	default:
		at = n / h * h;
		break;
	}
	return at < n ? at : n - 1;
}

static const char *keep(struct generator *g, const char *text)
{
	char *buffer = g->spans[g->next_span++ % G_N_ELEMENTS(g->spans)];

	g_strlcpy(buffer, text, sizeof(g->spans[0]));
	return buffer;
}

/* A range of what is called so and has so many pages. */
static const char *span_of(struct generator *g, const char *name, u64 pages, bool steps)
{
	char text[64];
	u64 a, b, step;

	if (pages == 1 || chance(g, 30)) {
		g_strlcpy(text, name, sizeof(text));
		goto out;
	}
	a = edge(g, pages);
	b = edge(g, pages + 1);
	if (chance(g, 25) || a == b) {
		a = a < pages ? a : pages - 1;
		snprintf(text, sizeof(text), "%s[%lu]", name, (unsigned long)a);
		goto out;
	}
	if (a > b) {
		u64 swap = a;

		a = b;
		b = swap;
	}
	step = pages > g->huge ? g->huge / 4 + pick(g, g->huge / 2) + 1 : 2 + pick(g, 3);
	if (steps && chance(g, 10) && b - a > step)
		snprintf(text, sizeof(text), "%s[%lu:%lu:%lu]", name, (unsigned long)a, (unsigned long)b,
			 (unsigned long)step);
	else
		snprintf(text, sizeof(text), "%s[%lu:%lu]", name, (unsigned long)a, (unsigned long)b);
out:
	return keep(g, text);
}

static const char *span(struct generator *g, const struct region *x, bool steps)
{
	return span_of(g, x->name, x->pages, steps);
}

static int pick_node(struct generator *g)
{
	static const int absent[] = { 5, 7, 9, 1000, -2 };

	if (has(g, T_ERRORS) && chance(g, 10))
		return absent[pick(g, G_N_ELEMENTS(absent))];
	return (int)pick(g, g->nr_nodes);
}

static const char *pick_nodes(struct generator *g)
{
	static const char *const absent[] = { "9", "0,9", "5", "7,1" };
	char text[64] = "";
	u64 mask;
	unsigned int n;

	if (has(g, T_ERRORS) && chance(g, 10))
		return absent[pick(g, G_N_ELEMENTS(absent))];
	if (chance(g, 55))
		mask = 1ULL << pick(g, g->nr_nodes);
	else
		mask = pick(g, (1ULL << g->nr_nodes) - 1) + 1;
	for (n = 0; n < g->nr_nodes; n++)
		if (mask >> n & 1)
			snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%u", *text ? "," : "", n);
	return keep(g, text);
}

static const char *pick_policy(struct generator *g)
{
	char text[64];

	if (word(g, RANDOM_WEIGHTED) && !g->settings->for_linux && chance(g, 10)) {
		snprintf(text, sizeof(text), "weighted 0:%lu,%u:2", (unsigned long)pick(g, 4) + 1, g->nr_nodes - 1);
		return keep(g, g->nr_nodes > 1 ? text : "weighted 0:1");
	}
	switch (pick(g, has(g, T_INTERLEAVE) ? 7 : 4)) {
	case 0:
		return "default";
	case 1:
	case 2:
		snprintf(text, sizeof(text), "bind %s", pick_nodes(g));
		break;
	case 3:
		snprintf(text, sizeof(text), "preferred %s", pick_nodes(g));
		if (chance(g, 80) && strchr(text, ','))
			*strchr(text, ',') = '\0';
		break;
	default:
		snprintf(text, sizeof(text), "interleave %s", pick_nodes(g));
		break;
	}
	return keep(g, text);
}

/* ---- statements: each is given the task that acts */

static void touch_region(struct generator *g, unsigned int t, const struct region *x)
{
	const char *where = span(g, x, true);

	switch (pick(g, 10)) {
	case 0:
	case 1:
		say(g, "%c load %s", name_of(t), where);
		break;
	case 2:
	case 3:
		say(g, "%c check %s =%lu", name_of(t), where, (unsigned long)g->value);
		break;
	default:
		say(g, "%c store %s =%lu", name_of(t), where, (unsigned long)++g->value);
		break;
	}
}

static void touch(struct generator *g, unsigned int t)
{
	const struct region *x = pick_region(g, t);

	if (x)
		touch_region(g, t, x);
}

static void note_file(struct generator *g, const char *path, u64 pages)
{
	unsigned int i;

	for (i = 0; i < g->nr_files && strcmp(g->file[i].path, path);)
		i++;
	if (i == g->nr_files) {
		if (i == MAX_FILES)
			return;
		g_strlcpy(g->file[g->nr_files++].path, path, sizeof(g->file[i].path));
	}
	if (g->file[i].pages < pages)
		g->file[i].pages = pages;
}

static struct region *new_region(struct generator *g, unsigned int t, char letter, u64 pages, enum region_kind kind)
{
	struct space *space = g->actor[t].space;
	struct region *x;

	if (space->nr_regions == MAX_REGIONS || g->nr_names == g->max_names)
		return NULL;
	x = &space->region[space->nr_regions++];
	snprintf(x->name, sizeof(x->name), "%c%u", letter, ++g->nr_names);
	x->pages = pages;
	x->kind = kind;
	return x;
}

/* Which pages of which kind of memory: kinds of the script's themes. */
static enum region_kind pick_kind(struct generator *g, unsigned int t)
{
	enum region_kind kinds[16];
	unsigned int n = 0, i;

	for (i = 0; i < 3; i++)
		kinds[n++] = KIND_ANON;
	for (i = 0; i < 4 && has(g, T_THP); i++)
		kinds[n++] = KIND_THP;
	for (i = 0; i < 2 && has(g, T_SHARED); i++)
		kinds[n++] = KIND_SHARED;
	/* Only privileged tasks may write to the files that privileged tasks made. */
	for (i = 0; i < 3 && (has(g, T_FILE) || has(g, T_DISK)) && !g->actor[t].unprivileged; i++)
		kinds[n++] = KIND_FILE;
	for (i = 0; i < 3 && has(g, T_HUGEFILE) && !g->actor[t].unprivileged; i++)
		kinds[n++] = KIND_HUGEFILE;
	return kinds[pick(g, n)];
}

static void mmap_file(struct generator *g, unsigned int t, enum region_kind kind, u64 pages, const char *extra)
{
	bool huge = kind == KIND_HUGEFILE, disk = !huge && (!has(g, T_FILE) || (has(g, T_DISK) && chance(g, 50)));
	u64 at = chance(g, 70) ? 0 : huge ? g->huge : 1 + 2 * pick(g, 2);
	char path[8], where[32] = "";
	struct region *x;

	snprintf(path, sizeof(path), "/%c/%c", disk ? 'd' : 't', huge ? 'h' : 'f' + (char)pick(g, 2));
	if (at)
		snprintf(where, sizeof(where), " at=%lu", (unsigned long)at);
	x = new_region(g, t, 'r', pages, kind);
	if (!x)
		return;
	say(g, "%c mmap %s %luK file %s%s%s%s", name_of(t), x->name, (unsigned long)pages * 4, path, where,
	    has(g, T_PRIVATE) && chance(g, 45) ? " private" : "", extra);
	note_file(g, path, at + pages);
	if (huge && chance(g, 85))
		say(g, "%c madvise %s hugepage", name_of(t), x->name);
	if (chance(g, 80))
		touch_region(g, t, x);
}

static void mmap_new(struct generator *g, unsigned int t)
{
	static const u64 sizes[] = { 1, 4, 8, 16, 16, 32 };
	enum region_kind kind = pick_kind(g, t);
	u64 pages = sizes[pick(g, G_N_ELEMENTS(sizes))];
	bool prot = has(g, T_PROT) && chance(g, 30);
	static const char *const prots[] = { " ro", " none", " rw" };
	struct region *x;
	char extra[32];

	snprintf(extra, sizeof(extra), "%s%s", prot ? prots[pick(g, 3)] : "",
		 chance(g, has(g, T_HOLES) ? 25 : 7) ? " populate" : "");
	if (kind == KIND_THP || kind == KIND_HUGEFILE)
		pages = g->huge * (1 + pick(g, g->huge > 100 ? 2 : 3)) + (chance(g, 15) ? g->huge / 3 : 0);
	if (pages > g->max_pages)
		pages = g->max_pages;
	if (kind == KIND_FILE || kind == KIND_HUGEFILE) {
		mmap_file(g, t, kind, pages, extra);
		return;
	}
	x = new_region(g, t, 'r', pages, kind);
	if (!x)
		return;
	say(g, "%c mmap %s %luK anon%s%s", name_of(t), x->name, (unsigned long)pages * 4,
	    kind == KIND_SHARED || (kind == KIND_THP && has(g, T_SHARED) && chance(g, 30)) ? " shared" : "", extra);
	if (kind == KIND_THP && chance(g, 95))
		say(g, "%c madvise %s hugepage", name_of(t), x->name);
	if (chance(g, 80))
		touch_region(g, t, x);
}

/* Again, where a region was or still is. */
static void mmap_again(struct generator *g, unsigned int t)
{
	struct region *x = pick_region(g, t);

	if (!x || x->kind == KIND_FILE || x->kind == KIND_HUGEFILE || x->kind == KIND_RESERVED)
		return;
	if (chance(g, 70))
		say(g, "%c munmap %s", name_of(t), x->name);
	say(g, "%c mmap %s %luK anon", name_of(t), x->name, (unsigned long)x->pages * 4);
	if (x->kind == KIND_THP)
		say(g, "%c madvise %s hugepage", name_of(t), x->name);
}

static void move(struct generator *g, unsigned int t)
{
	const struct region *x = pick_region(g, t);
	const char *all = chance(g, 40) ? " all" : "";
	unsigned int items, i;
	GString *list;

	if (!x)
		return;
	if (!chance(g, 18)) {
		say(g, "%c move_pages %s to %d%s", name_of(t), span(g, x, true), pick_node(g), all);
		return;
	}
	list = g_string_new(NULL);
	items = 2 + (unsigned int)pick(g, 4);
	for (i = 0; i < items; i++) {
		x = pick_region(g, t);
		if (chance(g, 70))
			g_string_append_printf(list, "%s%s[%lu] to %d", i ? ", " : "", x->name,
					       (unsigned long)edge(g, x->pages), pick_node(g));
		else
			g_string_append_printf(list, "%s%s to %d", i ? ", " : "", span(g, x, true), pick_node(g));
	}
	say(g, "%c move_pages %s%s", name_of(t), list->str, all);
	g_string_free(list, TRUE);
}

static void migrate(struct generator *g, unsigned int t)
{
	const char *from = pick_nodes(g), *to = pick_nodes(g);

	/* The recorder's own threads would be counted. */
	if (g->settings->for_linux && g->actor[t].space->threaded)
		return;
	say(g, "%c migrate_pages %s to %s", name_of(t), from, to);
}

static void mbind(struct generator *g, unsigned int t)
{
	static const char *const how[] = { "",          "",        " move",        " move",
					   " move_all", " strict", " move strict", " move_all strict" };
	const struct region *x = pick_region(g, t);

	if (x)
		say(g, "%c mbind %s %s%s", name_of(t), span(g, x, chance(g, 20)), pick_policy(g),
		    how[pick(g, G_N_ELEMENTS(how))]);
}

static void mempolicy(struct generator *g, unsigned int t)
{
	say(g, "%c mempolicy %s", name_of(t), pick_policy(g));
}

static void range_verb(struct generator *g, unsigned int t, const char *verb, const char *words, bool steps)
{
	const struct region *x = pick_region(g, t);

	if (x)
		say(g, "%c %s %s%s", name_of(t), verb, span(g, x, steps), words);
}

/* One of the words between spaces, each with its own space before it. */
static void madvise_one_of(struct generator *g, unsigned int t, const char *const *words, unsigned int n)
{
	range_verb(g, t, "madvise", words[pick(g, n)], true);
}

#define MADVISE(name, ...)                                                      \
	static void name(struct generator *g, unsigned int t)                   \
	{                                                                       \
		static const char *const words[] = { __VA_ARGS__ };             \
		madvise_one_of(g, t, words, (unsigned int)G_N_ELEMENTS(words)); \
	}
MADVISE(madvise_dontneed, " dontneed")
MADVISE(madvise_lazy, " free", " free", " cold")
MADVISE(madvise_huge, " hugepage", " nohugepage")
MADVISE(madvise_holes, " populate_read", " populate_write", " willneed")
MADVISE(madvise_remove, " remove")
MADVISE(madvise_fork, " dontfork", " dofork")
MADVISE(madvise_pageout, " pageout")
MADVISE(madvise_collapse, " collapse")

static void munmap(struct generator *g, unsigned int t)
{
	range_verb(g, t, "munmap", "", true);
}

static void mprotect(struct generator *g, unsigned int t)
{
	static const char *const prots[] = { " none", " ro", " ro", " rw", " rw" };

	range_verb(g, t, "mprotect", prots[pick(g, G_N_ELEMENTS(prots))], true);
}

static void mlock(struct generator *g, unsigned int t)
{
	range_verb(g, t, chance(g, 60) ? "mlock" : "munlock", "", true);
}

static void split(struct generator *g, unsigned int t)
{
	range_verb(g, t, "split", "", false);
}

static void status(struct generator *g, unsigned int t)
{
	range_verb(g, t, "status", "", true);
}

static void smaps(struct generator *g, unsigned int t)
{
	range_verb(g, t, "smaps", "", false);
}

static void clear_refs(struct generator *g, unsigned int t)
{
	say(g, "%c clear_refs", name_of(t));
}

static void cpu(struct generator *g, unsigned int t)
{
	say(g, "%c cpu %lu", name_of(t), (unsigned long)pick(g, g->nr_cpus));
}

static void remap(struct generator *g, unsigned int t)
{
	const struct region *x = pick_region(g, t);
	struct region *d;
	u64 a, b, to;

	if (!x)
		return;
	d = new_region(g, t, 'd', x->pages, x->kind);
	if (!d)
		return;
	say(g, "%c reserve %s %luK", name_of(t), d->name, (unsigned long)x->pages * 4);
	if (chance(g, 45)) {
		say(g, "%c mremap %s to %s", name_of(t), x->name, d->name);
		return;
	}
	a = edge(g, x->pages);
	b = edge(g, x->pages) + 1;
	if (a > b - 1) {
		u64 swap = a;

		a = b - 1;
		b = swap + 1;
	}
	to = chance(g, 60) ? a : edge(g, x->pages);
	if (to + b - a > x->pages)
		to = a;
	say(g, "%c mremap %s[%lu:%lu] to %s[%lu]", name_of(t), x->name, (unsigned long)a, (unsigned long)b, d->name,
	    (unsigned long)to);
}

static void hold(struct generator *g, unsigned int t)
{
	struct space *space = g->actor[t].space;
	const struct region *x = pick_region(g, t);
	bool pin = has(g, T_PIN) && (!has(g, T_GET) || chance(g, 50));
	const char *where;

	if (!x || space->nr_holds == MAX_HOLDS)
		return;
	where = span(g, x, chance(g, 20));
	say(g, "%c %s %s", name_of(t), pin ? "pin" : "get", where);
	space->hold[space->nr_holds].pin = pin;
	g_strlcpy(space->hold[space->nr_holds++].span, where, sizeof(space->hold[0].span));
}

static void unhold(struct generator *g, unsigned int t)
{
	struct space *space = g->actor[t].space;
	unsigned int i;

	if (!space->nr_holds)
		return;
	i = (unsigned int)pick(g, space->nr_holds);
	say(g, "%c %s %s", name_of(t), space->hold[i].pin ? "unpin" : "put", space->hold[i].span);
	space->hold[i] = space->hold[--space->nr_holds];
}

static void fork_task(struct generator *g, unsigned int t)
{
	struct actor *me = &g->actor[t], *child;
	unsigned int c;

	for (c = 0; c < MAX_TASKS && g->actor[c].used;)
		c++;
	if (c == MAX_TASKS || (g->settings->for_linux && c > 3))
		return;
	child = &g->actor[c];
	if (has(g, T_THREADS) && chance(g, 50) && !(g->settings->for_linux && me->thread)) {
		say(g, "%c thread %c", name_of(t), name_of(c));
		*child = (struct actor){
			.used = true, .thread = true, .unprivileged = me->unprivileged, .space = me->space
		};
		me->space->users++;
		me->space->threaded = true;
		return;
	}
	/* The recorder cannot fork from a process that has had threads. */
	if (g->settings->for_linux && me->space->threaded)
		return;
	say(g, "%c fork %c", name_of(t), name_of(c));
	*child = (struct actor){ .used = true, .unprivileged = me->unprivileged, .space = g_new0(struct space, 1) };
	*child->space = *me->space;
	child->space->users = 1;
	child->space->threaded = false;
	child->space->nr_holds = 0;
}

static void forget_task(struct generator *g, unsigned int t)
{
	struct actor *me = &g->actor[t];

	if (!--me->space->users)
		g_free(me->space);
	memset(me, 0, sizeof(*me));
}

static void exit_task(struct generator *g, unsigned int t)
{
	struct space *space = g->actor[t].space;
	bool whole = !g->actor[t].thread;
	unsigned int i, spaces = 0;

	for (i = 0; i < MAX_TASKS; i++)
		spaces += g->actor[i].used && g->actor[i].space != space;
	if (whole && (!spaces || (g->settings->for_linux && space->users > 1)))
		return;
	say(g, "%c exit", name_of(t));
	if (whole)
		for (i = 0; i < MAX_TASKS; i++)
			if (i != t && g->actor[i].used && g->actor[i].space == space)
				forget_task(g, i);
	forget_task(g, t);
}

static void start_task(struct generator *g, unsigned int t)
{
	unsigned int c;

	(void)t;
	for (c = 0; c < MAX_TASKS && g->actor[c].used;)
		c++;
	if (c == MAX_TASKS || (g->settings->for_linux && c > 3))
		return;
	say(g, "%c start%s", name_of(c), g->nr_cpus > 1 && chance(g, 30) ? " cpu=1" : "");
	g->actor[c] = (struct actor){ .used = true, .space = g_new0(struct space, 1) };
	g->actor[c].space->users = 1;
	mmap_new(g, c);
}

static void privileges(struct generator *g, unsigned int t)
{
	unsigned int i;

	if (t == 0 || g->actor[t].unprivileged || (g->settings->for_linux && g->actor[t].space->users > 1))
		return;
	say(g, "%c unprivileged", name_of(t));
	for (i = 0; i < MAX_TASKS; i++)
		if (g->actor[i].used && g->actor[i].space == g->actor[t].space)
			g->actor[i].unprivileged = true;
}

static void file_verb(struct generator *g, unsigned int t)
{
	unsigned int i = g->nr_files ? (unsigned int)pick(g, g->nr_files) : 0;
	const char *path = g->nr_files ? g->file[i].path : has(g, T_DISK) ? "/d/f" : "/t/f";
	u64 pages = g->nr_files ? g->file[i].pages : 8, a, b;
	u64 n = pages > 2 ? pages : 2;
	const char *where;

	a = edge(g, n);
	b = edge(g, n) + 1;
	if (a > b - 1) {
		u64 swap = a;

		a = b - 1;
		b = swap + 1;
	}
	if (b - a > 40)
		b = a + 20;
	switch (pick(g, 12)) {
	case 0:
	case 1:
	case 2:
	case 3:
		say(g, "%c pwrite %s[%lu:%lu] =%lu", name_of(t), path, (unsigned long)a, (unsigned long)b,
		    (unsigned long)++g->value);
		note_file(g, path, b);
		return;
	case 4:
	case 5:
		say(g, "%c pread %s[%lu:%lu]", name_of(t), path, (unsigned long)a, (unsigned long)b);
		return;
	case 6:
	case 7:
		say(g, "%c fsync %s", name_of(t), path);
		return;
	case 8:
	case 9:
		/* What has just been written may or may not have reached the disk. */
		if (g->settings->for_linux && path[1] == 'd')
			say(g, "%c fsync %s", name_of(t), path);
		where = chance(g, 60) ? path : span_of(g, path, n, false);
		say(g, "%c fadvise %s dontneed", name_of(t), where);
		return;
	default:
		if (has(g, T_TRUNCATE))
			say(g, "%c truncate %s %lu", name_of(t), path,
			    (unsigned long)(chance(g, 20)   ? 0
					    : chance(g, 50) ? a
							    : n + pick(g, 5) - 2));
		return;
	}
}

static void caches(struct generator *g, unsigned int t)
{
	static const char *const words[] = { "drop_caches 1", "drop_caches 1", "drop_caches 2",
					     "drop_caches 3", "vmstat",        "drain" };

	(void)t;
	say(g, "kernel %s", words[pick(g, G_N_ELEMENTS(words))]);
}

/* Memory is taken away, asked for, pushed together. No two kernels do that the same way. */
static void pressure(struct generator *g, unsigned int t)
{
	u64 n = pick(g, 12) + 1;

	(void)t;
	switch (pick(g, 4)) {
	case 0:
		if (!word(g, RANDOM_COMPACT))
			return;
		if (chance(g, 50))
			say(g, "kernel compact");
		else
			say(g, "kernel compact %lu", (unsigned long)pick(g, g->nr_nodes));
		return;
	case 1:
		if (!word(g, RANDOM_BALLOON))
			return;
		if (g->ballooned && chance(g, 50)) {
			n = pick(g, g->ballooned) + 1;
			g->ballooned -= n;
			say(g, "kernel balloon -%lu", (unsigned long)n);
		} else {
			g->ballooned += n;
			say(g, "kernel balloon +%lu", (unsigned long)n);
		}
		return;
	case 2:
		if (word(g, RANDOM_RECLAIM))
			say(g, "kernel reclaim %lu %lu", (unsigned long)pick(g, g->nr_nodes), (unsigned long)n);
		return;
	default:
		if (word(g, RANDOM_SWAP))
			say(g, "kernel swap %s", chance(g, 70) ? "on" : "off");
		return;
	}
}

static void settings(struct generator *g, unsigned int t)
{
	static const struct {
		const char *name, *values[4];
		int word; /* of the build, or -1 */
		bool linux_too;
	} table[] = {
		{ "thp_enabled", { "always", "madvise", "never", "always" }, -1, true },
		{ "use_zero_page", { "0", "1", "0", "1" }, -1, true },
		{ "shmem_enabled", { "always", "advise", "never", "within_size" }, RANDOM_SET_SHMEM, true },
		{ "thp_defrag", { "always", "madvise", "never", "defer" }, RANDOM_SET_DEFRAG, false },
		{ "demotion_enabled", { "0", "1", "1", "1" }, RANDOM_SET_DEMOTION, false },
		{ "numa_balancing", { "0", "1", "2", "1" }, RANDOM_SET_BALANCING, false },
		{ "swappiness", { "0", "60", "100", "200" }, RANDOM_SET_SWAPPINESS, false },
	};
	unsigned int i = (unsigned int)pick(g, G_N_ELEMENTS(table));

	(void)t;
	if (table[i].word >= 0 && !word(g, (enum random_word)table[i].word))
		return;
	if (g->settings->for_linux && !table[i].linux_too)
		return;
	say(g, "kernel set %s %s", table[i].name, table[i].values[pick(g, 4)]);
}

static void exchange(struct generator *g, unsigned int t)
{
	static const char *const modes[] = { "", " async", " sync_light", " sync" };
	unsigned int other = pick_task(g);
	const struct region *x = pick_region(g, t), *y = pick_region(g, other);
	u64 a, b, n;

	if (!x || !y)
		return;
	a = edge(g, x->pages);
	b = edge(g, y->pages);
	n = 1 + pick(g, ps_min(x->pages - a, y->pages - b));
	say(g, "%c exchange %s[%lu:%lu] with %c %s[%lu:%lu]%s", name_of(t), x->name, (unsigned long)a,
	    (unsigned long)(a + n), name_of(other), y->name, (unsigned long)b, (unsigned long)(b + n),
	    modes[pick(g, 4)]);
}

static void show_all(struct generator *g, unsigned int t)
{
	unsigned int i, k;

	(void)t;
	for (i = 0; i < MAX_TASKS; i++) {
		if (!g->actor[i].used || g->actor[i].thread)
			continue;
		for (k = 0; k < g->actor[i].space->nr_regions; k++) {
			const struct region *x = &g->actor[i].space->region[k];

			say(g, "%c show %s", name_of(i), x->name);
			if (has(g, T_SMAPS) && chance(g, 30))
				say(g, "%c smaps %s", name_of(i), span(g, x, false));
		}
	}
}

static void show_one(struct generator *g, unsigned int t)
{
	range_verb(g, t, "show", "", true);
}

/* ---- the script */

#define ANY (-1)

/* What may be said, how often, in scripts of which theme, in builds with which word, and whether to a real kernel. */
static const struct {
	void (*run)(struct generator *g, unsigned int t);
	unsigned int weight;
	int theme, word;
	bool linux_too;
} menu[] = {
	{ mmap_new, 9, ANY, ANY, true },
	{ touch, 24, ANY, ANY, true },
	{ move, 15, ANY, ANY, true },
	{ migrate, 3, ANY, ANY, true },
	{ fork_task, 4, ANY, ANY, true },
	{ exit_task, 3, ANY, ANY, true },
	{ start_task, 1, ANY, ANY, true },
	{ cpu, 1, ANY, ANY, true },
	{ status, 2, ANY, ANY, true },
	{ show_one, 2, ANY, ANY, true },
	{ madvise_dontneed, 2, ANY, ANY, true },
	{ mmap_again, 2, T_CUT, ANY, true },
	{ split, 3, T_THP, ANY, true },
	{ madvise_huge, 2, T_THP, ANY, true },
	{ split, 2, T_HUGEFILE, ANY, true },
	{ file_verb, 3, T_HUGEFILE, ANY, true },
	{ file_verb, 5, T_FILE, ANY, true },
	{ file_verb, 7, T_DISK, ANY, true },
	{ file_verb, 5, T_TRUNCATE, ANY, true },
	{ madvise_remove, 3, T_TRUNCATE, ANY, true },
	{ mlock, 7, T_MLOCK, ANY, true },
	{ hold, 5, T_PIN, ANY, true },
	{ unhold, 4, T_PIN, ANY, true },
	{ hold, 5, T_GET, ANY, true },
	{ unhold, 4, T_GET, ANY, true },
	{ mbind, 8, T_POLICY, ANY, true },
	{ mempolicy, 3, T_POLICY, ANY, true },
	{ mbind, 8, T_INTERLEAVE, ANY, true },
	{ mempolicy, 2, T_INTERLEAVE, ANY, true },
	{ remap, 6, T_REMAP, ANY, true },
	{ madvise_lazy, 6, T_LAZY, ANY, true },
	{ munmap, 4, T_CUT, ANY, true },
	{ madvise_dontneed, 4, T_CUT, ANY, true },
	{ mprotect, 8, T_PROT, ANY, true },
	{ clear_refs, 4, T_SOFT, ANY, true },
	{ caches, 4, T_CACHES, ANY, true },
	{ madvise_holes, 6, T_HOLES, ANY, true },
	{ fork_task, 3, T_THREADS, ANY, true },
	{ privileges, 2, T_POOR, ANY, true },
	{ move, 4, T_POOR, ANY, true },
	{ migrate, 3, T_POOR, ANY, true },
	{ fork_task, 2, T_FORKFLAGS, ANY, true },
	{ madvise_fork, 4, T_FORKFLAGS, ANY, true },
	{ smaps, 4, T_SMAPS, ANY, true },
	{ madvise_pageout, 7, T_SWAP, RANDOM_PAGEOUT, true },
	{ madvise_collapse, 5, T_COLLAPSE, RANDOM_COLLAPSE, true },
	{ pressure, 5, T_PRESSURE, ANY, false },
	{ exchange, 7, T_EXCHANGE, RANDOM_EXCHANGE, false },
	{ settings, 3, T_SETTINGS, ANY, true },
};

static void pick_themes(struct generator *g, bool deep)
{
	unsigned int n = deep ? 8 + (unsigned int)pick(g, 7) : 3 + (unsigned int)pick(g, 6), i;

	for (i = 0; i < n; i++)
		g->themes |= 1u << pick(g, NR_THEMES);
	if (deep || has(g, T_COLLAPSE))
		g->themes |= 1u << T_THP;
	/* Where shared pages are born under interleave depends on inode numbers. */
	if (g->settings->for_linux && has(g, T_INTERLEAVE))
		g->themes &= ~(1u << T_SHARED | 1u << T_FILE | 1u << T_HUGEFILE | 1u << T_DISK | 1u << T_TRUNCATE |
			       1u << T_CACHES | 1u << T_PRIVATE);
}

static const char *machine_of(const struct random_settings *s)
{
	if (s->for_linux)
		return "linux-6.1";
	return s->machine ? s->machine : machines[s->number % G_N_ELEMENTS(machines)].what;
}

bool random_script_is_tight(const struct random_settings *s)
{
	return !s->for_linux && !s->machine && machines[s->number % G_N_ELEMENTS(machines)].tight;
}

static void pick_machine(struct generator *g)
{
	const char *what = machine_of(g->settings);
	struct ps_machine_spec *spec = ps_machine_spec_load(what, NULL, NULL);
	unsigned int bits;

	g_assert(spec);
	bits = spec->pt_bits ? spec->pt_bits : 9;
	g->huge = 1ULL << bits;
	/* A script's regions lie a sixteenth of the address space apart, or at least far, see set_region() in script.c. */
	g->max_pages = bits == 9 ? 4 * g->huge : ps_min(1ULL << (4 * bits - 4), 256);
	g->max_names = bits == 9 ? MAX_REGIONS : 15;
	g->nr_nodes = spec->nr_nodes;
	g->nr_cpus = spec->nr_cpus;
	ps_machine_spec_free(spec);
	if (!g->settings->for_linux)
		say(g, "machine %s", what);
}

static void write_statements(struct generator *g, unsigned int n)
{
	unsigned int total = 0, i, k;

	for (i = 0; i < G_N_ELEMENTS(menu); i++)
		if ((menu[i].theme == ANY || has(g, (enum theme)menu[i].theme)) &&
		    (menu[i].word == ANY || word(g, (enum random_word)menu[i].word)) &&
		    (menu[i].linux_too || !g->settings->for_linux))
			total += menu[i].weight;
	for (k = 0; k < n; k++) {
		u64 ticket = pick(g, total);

		for (i = 0; i < G_N_ELEMENTS(menu); i++) {
			if ((menu[i].theme != ANY && !has(g, (enum theme)menu[i].theme)) ||
			    (menu[i].word != ANY && !word(g, (enum random_word)menu[i].word)) ||
			    (!menu[i].linux_too && g->settings->for_linux))
				continue;
			if (ticket < menu[i].weight)
				break;
			ticket -= menu[i].weight;
		}
		menu[i].run(g, pick_task(g));
		if (g->settings->for_linux && chance(g, 20))
			show_all(g, 0);
	}
}

/* Everybody gives everything up, so that what is left afterwards is a leak. */
static void finish(struct generator *g)
{
	unsigned int t;

	for (t = 0; t < MAX_TASKS; t++)
		if (g->actor[t].used && chance(g, 50))
			while (g->actor[t].space->nr_holds)
				unhold(g, t);
	for (t = MAX_TASKS; t-- > 0;) {
		if (!g->actor[t].used)
			continue;
		if (g->settings->for_linux) {
			if (t && !g->actor[t].thread && g->actor[t].space->users == 1 && chance(g, 70)) {
				exit_task(g, t);
				show_all(g, 0);
			}
			continue;
		}
		say(g, "%c exit", name_of(t));
		if (g->actor[t].thread) {
			forget_task(g, t);
		} else {
			struct space *space = g->actor[t].space;
			unsigned int i;

			for (i = 0; i < MAX_TASKS; i++)
				if (g->actor[i].used && g->actor[i].space == space && i != t)
					forget_task(g, i);
			forget_task(g, t);
		}
	}
	if (!g->settings->for_linux) {
		if (g->ballooned)
			say(g, "kernel balloon -%lu", (unsigned long)g->ballooned);
		say(g, "kernel drop_caches 3");
	}
	for (t = 0; t < MAX_TASKS; t++)
		if (g->actor[t].used)
			forget_task(g, t);
}

char *random_script(const struct random_settings *s)
{
	struct generator *g = g_new0(struct generator, 1);
	bool deep;
	unsigned int i, n;
	char *text;

	g->settings = s;
	g->out = g_string_new(NULL);
	ps_rng_init(&g->rng, s->number * 2 + s->for_linux);
	deep = chance(g, 30);
	pick_themes(g, deep);
	g_string_append_printf(g->out, "# random scenario %lu:", (unsigned long)s->number);
	for (i = 0; i < NR_THEMES; i++) {
		char *lower = g_ascii_strdown(theme_names[i], -1);

		if (has(g, (enum theme)i))
			g_string_append_printf(g->out, " %s", lower);
		g_free(lower);
	}
	g_string_append_c(g->out, '\n');
	pick_machine(g);
	n = s->statements ? s->statements : deep ? 70 + (unsigned int)pick(g, 50) : 25 + (unsigned int)pick(g, 35);
	start_task(g, 0);
	write_statements(g, n);
	if (s->for_linux)
		show_all(g, 0);
	finish(g);
	text = g_string_free(g->out, FALSE);
	g_free(g);
	return text;
}

/* ---- what the build has */

u32 random_words(void)
{
	static const char *const probes[] = {
#define RANDOM_WORD_PROBE(name, probe) probe,
		RANDOM_OPTIONAL_WORDS(RANDOM_WORD_PROBE)
#undef RANDOM_WORD_PROBE
	};
	struct ps_machine_spec *spec = ps_machine_spec_load("tiny,0=256K,1=256K", NULL, NULL);
	u32 words = 0;
	unsigned int i;

	g_assert(spec);
	for (i = 0; i < G_N_ELEMENTS(probes); i++) {
		char *text = g_strconcat("A start\nA mmap r 16K anon\nA store r\n", probes[i], "\n", NULL);
		struct ps_script *script = ps_script_parse(text, strlen(text), "probe");
		GError *error = NULL;

		if (ps_script_run(script, spec, NULL, &error) || !strstr(error->message, "is not in this build"))
			words |= 1u << i;
		g_clear_error(&error);
		ps_script_free(script);
		g_free(text);
	}
	ps_machine_spec_free(spec);
	return words;
}
