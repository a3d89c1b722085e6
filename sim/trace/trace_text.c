/* SPDX-License-Identifier: MIT */
/*
 * The parser of the trace language: a line is cut into words, the words are taken one after the other by small functions that
 * each know what they expect, and the first that finds something else ends the script with one message. There is no grammar
 * table: the functions below, one per verb, *are* the grammar, and the form column of PS_VERB_LIST says the same in words.
 *
 * Two things are all that lasts from line to line: whether we are inside a race, and where the statements lie. Strings and arrays
 * live in the script's own blocks and are freed with it.
 *
 * Names in this file:
 *   next(p, what)      take a word, or fail: "expected WHAT, found the end of the statement"
 *   got(p, word)       take the word if it is this one
 *   parse_x(p, ...)    take what the language calls x
 *   failed             set once; every function returns at once from then on, with values that do no harm
 */
#include <pagesim/trace_text.h>

#include <pagesim/alloc.h>

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/grow.h"

#define TASK_NAME_MAX   23 /* comm of struct task_struct holds 24 */
#define REGION_NAME_MAX 63
#define NODE_WORD_MAX   1000000

/* Memory that lives as long as the script. */
struct block {
	struct block *next;
	char bytes[];
};

struct parser {
	struct ps_script script;
	struct ps_grow statements; /* struct ps_statement */
	struct block *blocks;      /* everything the statements point to, linked */
	GError *error;
	char *name;

	bool failed;
	bool in_race;
	u32 line;
	struct ps_grow words; /* char *, of the current line; point into it */
	size_t at;
	struct ps_statement st;
};

static const struct {
	const char *word;
	const char *form;
	enum ps_subject subject;
} verbs[PS_VERBS] = {
#define VERB(name, subject, word, form) { word, form, PS_SUBJECT_##subject },
	PS_VERB_LIST(VERB)
#undef VERB
};

const char *ps_verb_word(enum ps_verb verb)
{
	return verbs[verb].word;
}

const char *ps_verb_form(enum ps_verb verb)
{
	return verbs[verb].form;
}

enum ps_subject ps_verb_subject(enum ps_verb verb)
{
	return verbs[verb].subject;
}

/* ---- memory and messages ---- */

static void G_GNUC_PRINTF(2, 3) fail(struct parser *p, const char *format, ...);

static void no_memory(struct parser *p)
{
	fail(p, "out of memory");
}

/* A copy of @n bytes and a zero behind them, living as long as the script; without memory, no bytes. */
static const char *keep(struct parser *p, const void *bytes, size_t n)
{
	struct block *block = ps_alloc(sizeof(*block) + n + 1);

	if (!block) {
		no_memory(p);
		return "";
	}
	memcpy(block->bytes, bytes, n);
	block->bytes[n] = 0;
	block->next = p->blocks;
	p->blocks = block;
	return block->bytes;
}

static const char *keep_word(struct parser *p, const char *word)
{
	return keep(p, word, strlen(word));
}

static void add(struct parser *p, struct ps_grow *array, const void *item, size_t size)
{
	if (!ps_grow_add(array, item, size))
		no_memory(p);
}

/* The items of an array, living as long as the script. The array is gone. Return: NULL when there are none or no memory. */
static const void *keep_array(struct parser *p, struct ps_grow *array, size_t size)
{
	const char *kept = array->n ? keep(p, array->data, array->n * size) : NULL;

	ps_grow_free(array);
	return p->failed ? NULL : kept;
}

static void G_GNUC_PRINTF(2, 3) fail(struct parser *p, const char *format, ...)
{
	va_list args;
	char *message;

	if (p->failed)
		return;
	p->failed = true;
	va_start(args, format);
	message = g_strdup_vprintf(format, args);
	va_end(args);
	p->error = g_error_new(PS_TRACE_ERROR, PS_TRACE_ERROR_SYNTAX, "%s:%u: %s", p->name, p->line, message);
	g_free(message);
}

/* ---- words ---- */

static const char *peek(const struct parser *p)
{
	return p->at < p->words.n ? ((char **)p->words.data)[p->at] : NULL;
}

static const char *next(struct parser *p, const char *what)
{
	const char *word = peek(p);

	if (p->failed)
		return "";
	if (!word) {
		fail(p, "expected %s, found the end of the statement", what);
		return "";
	}
	p->at++;
	return word;
}

static bool got(struct parser *p, const char *word)
{
	const char *w = peek(p);

	if (p->failed || !w || strcmp(w, word))
		return false;
	p->at++;
	return true;
}

static void expect(struct parser *p, const char *word)
{
	char what[32];
	const char *w;

	g_snprintf(what, sizeof(what), "'%s'", word);
	w = next(p, what);
	if (strcmp(w, word))
		fail(p, "expected %s, found '%s'", what, w);
}

/* Reads decimal digits. Return: behind them, or NULL when there is none or the number is beyond 64 bits. */
static const char *digits(const char *s, u64 *ret)
{
	u64 v = 0;

	if (*s < '0' || *s > '9')
		return NULL;
	for (; *s >= '0' && *s <= '9'; s++)
		if (__builtin_mul_overflow(v, (u64)10, &v) || __builtin_add_overflow(v, (u64)(*s - '0'), &v))
			return NULL;
	*ret = v;
	return s;
}

static u64 parse_number_in(struct parser *p, const char *word, const char *what)
{
	u64 v = 0;
	const char *end = digits(word, &v);

	if (!end || *end)
		fail(p, "expected %s, found '%s'", what, word);
	return v;
}

static u64 parse_number(struct parser *p, const char *what)
{
	return parse_number_in(p, next(p, what), what);
}

static int parse_node_in(struct parser *p, const char *word)
{
	bool negative = *word == '-';
	u64 v = 0;
	const char *end = digits(word + negative, &v);

	if (!end || *end || v > NODE_WORD_MAX)
		fail(p, "expected a node, found '%s'", word);
	return negative ? -(int)v : (int)v;
}

int ps_parse_size(const char *word, u64 *ret_bytes)
{
	static const char units[] = "KMGT";
	u64 v = 0;
	const char *end = digits(word, &v);
	const char *unit;
	unsigned int shift = 0;

	if (!end)
		return *word >= '0' && *word <= '9' ? -ERANGE : -EINVAL;
	if (*end) {
		unit = strchr(units, *end);
		if (!unit || end[1])
			return -EINVAL;
		shift = 10 * (unsigned int)(unit - units + 1);
	}
	if (v << shift >> shift != v)
		return -ERANGE;
	*ret_bytes = v << shift;
	return 0;
}

int ps_parse_time(const char *word, ps_ns_t *ret_ns)
{
	static const struct {
		const char *word;
		u64 ns;
	} units[] = { { "", 1 }, { "ns", 1 }, { "us", 1000 }, { "ms", 1000000 }, { "s", 1000000000 } };
	u64 whole = 0, part = 0, scale = 1;
	const char *end = digits(word, &whole);

	if (!end)
		return -EINVAL;
	if (*end == '.') {
		const char *begin = end + 1;

		end = digits(begin, &part);
		if (!end || end - begin > 9)
			return -EINVAL;
		for (; begin < end; begin++)
			scale *= 10;
	}
	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		u64 ns;

		if (strcmp(units[i].word, end))
			continue;
		/* A fraction of a nanosecond does not exist. */
		if (part * units[i].ns % scale || __builtin_mul_overflow(whole, units[i].ns, &ns) ||
		    __builtin_add_overflow(ns, part * units[i].ns / scale, &ns))
			return -EINVAL;
		*ret_ns = ns;
		return 0;
	}
	return -EINVAL;
}

static u64 parse_size(struct parser *p)
{
	const char *word = next(p, "a size");
	u64 bytes = 0;

	if (ps_parse_size(word, &bytes) || !bytes || bytes % PS_TRACE_PAGE_SIZE)
		fail(p, "expected a size (a multiple of 4K), found '%s'", word);
	return bytes;
}

static const char *parse_name_in(struct parser *p, const char *word, const char *what, size_t longest)
{
	bool ok = g_ascii_isalpha(*word) || *word == '_';

	for (const char *c = word; *c; c++)
		ok &= g_ascii_isalnum(*c) || strchr("_.-", *c);
	if (!ok)
		fail(p, "expected %s, found '%s'", what, word);
	else if (strlen(word) > longest)
		fail(p, "expected %s of at most %zu letters, found '%s'", what, longest, word);
	return keep_word(p, word);
}

static bool reserved(const char *word)
{
	static const char *const words[] = { "kernel", "machine", "quirk", "race", "end", "expect" };

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (!strcmp(word, words[i]))
			return true;
	return false;
}

static const char *parse_task_in(struct parser *p, const char *word, const char *what)
{
	if (reserved(word))
		fail(p, "expected %s, found the word '%s', which means something else", what, word);
	return parse_name_in(p, word, what, TASK_NAME_MAX);
}

static const char *parse_region(struct parser *p)
{
	return parse_name_in(p, next(p, "a region name"), "a region name", REGION_NAME_MAX);
}

static void check_path(struct parser *p, const char *path)
{
	if (strncmp(path, "/t/", 3) && strncmp(path, "/d/", 3))
		fail(p, "expected a file below /t/ or /d/, found '%s'", path);
}

/* ---- ranges ---- */

static struct ps_range parse_range_in(struct parser *p, const char *word)
{
	struct ps_range r = { .name = "", .whole = true, .step = 1 };
	const char *bracket = strchr(word, '[');
	const char *name = keep(p, word, bracket ? (size_t)(bracket - word) : strlen(word));
	const char *s = bracket ? bracket + 1 : NULL;
	bool ok = true;

	r.is_file = *name == '/';
	r.name = name;
	if (!*name)
		fail(p, "expected a range, found '%s'", word);
	else if (r.is_file)
		check_path(p, name);
	else
		parse_name_in(p, name, "a region", REGION_NAME_MAX);
	if (!bracket || p->failed)
		return r;

	r.whole = false;
	s = digits(s, &r.first);
	r.end = r.first + 1;
	if (s && *s == ':') {
		s = digits(s + 1, &r.end);
		if (s && *s == ':')
			s = digits(s + 1, &r.step);
	}
	ok = s && *s == ']' && !s[1];
	if (!ok)
		fail(p, "expected NAME[i], NAME[i:j] or NAME[i:j:step], found '%s'", word);
	else if (r.end <= r.first || r.end > PS_TRACE_VPN_END)
		fail(p, "expected a range that ends behind its begin, found '%s'", word);
	else if (!r.step)
		fail(p, "expected a step of 1 or more, found '%s'", word);
	return r;
}

static struct ps_range parse_region_range(struct parser *p)
{
	struct ps_range r = parse_range_in(p, next(p, "a range of a region"));

	if (r.is_file)
		fail(p, "expected a region, found the file '%s'", r.name);
	return r;
}

static struct ps_range parse_file_range(struct parser *p)
{
	struct ps_range r = parse_range_in(p, next(p, "a file"));

	if (!r.is_file)
		fail(p, "expected a file, found the region '%s'", r.name);
	return r;
}

/* ---- nodes and policies ---- */

static struct ps_node_list parse_nodes(struct parser *p, bool weighted)
{
	const char *what = weighted ? "a list of nodes and weights (N:W,...)" : "a list of nodes (N,...)";
	const char *word = next(p, what), *s = word;
	struct ps_grow nodes = { 0 }, weights = { 0 };
	struct ps_node_list list = { 0 };

	while (!p->failed) {
		u64 node = 0, weight = 1;
		int n;
		u32 w;

		s = digits(s, &node);
		if (s && weighted)
			s = *s == ':' ? digits(s + 1, &weight) : NULL;
		if (!s || (*s && *s != ',') || node > NODE_WORD_MAX || !weight || weight > 0xffffffffu) {
			fail(p, "expected %s, found '%s'", what, word);
			break;
		}
		n = (int)node;
		w = (u32)weight;
		add(p, &nodes, &n, sizeof(n));
		if (weighted)
			add(p, &weights, &w, sizeof(w));
		if (!*s++)
			break;
	}
	list.n = (u32)nodes.n;
	list.node = keep_array(p, &nodes, sizeof(int));
	list.weight = keep_array(p, &weights, sizeof(u32));
	return p->failed ? (struct ps_node_list){ 0 } : list;
}

static const char *const policy_words[] = {
	[PS_POLICY_DEFAULT] = "default",       [PS_POLICY_BIND] = "bind",         [PS_POLICY_PREFERRED] = "preferred",
	[PS_POLICY_INTERLEAVE] = "interleave", [PS_POLICY_WEIGHTED] = "weighted",
};

static void parse_policy(struct parser *p)
{
	static const char what[] = "a policy (default, bind, preferred, interleave, weighted)";
	const char *word = next(p, what);

	for (size_t i = 0; i < ARRAY_SIZE(policy_words); i++) {
		if (strcmp(word, policy_words[i]))
			continue;
		p->st.policy.mode = (enum ps_policy_mode)i;
		if (i != PS_POLICY_DEFAULT)
			p->st.policy.nodes = parse_nodes(p, i == PS_POLICY_WEIGHTED);
		return;
	}
	fail(p, "expected %s, found '%s'", what, word);
}

/* ---- operands of several verbs ---- */

static void parse_value(struct parser *p)
{
	const char *word = peek(p);

	if (p->failed || !word || *word != '=')
		return;
	p->at++;
	p->st.has_value = true;
	p->st.value = parse_number_in(p, word + 1, "a value =V");
}

static int parse_prot_in(const char *word)
{
	if (!strcmp(word, "none"))
		return PS_PROT_NONE;
	if (!strcmp(word, "ro"))
		return PS_PROT_READ;
	if (!strcmp(word, "rw"))
		return PS_PROT_READ | PS_PROT_WRITE;
	return -EINVAL;
}

/* Finds the word among @n others. Return: its index, or @n after failing with @what. */
static size_t parse_choice(struct parser *p, const char *what, const char *const *words, size_t n)
{
	const char *word = next(p, what);

	for (size_t i = 0; i < n; i++)
		if (!strcmp(word, words[i]))
			return i;
	fail(p, "expected %s, found '%s'", what, word);
	return n;
}

static void parse_items(struct parser *p, bool to_nodes)
{
	struct ps_grow items = { 0 };
	bool more;

	do {
		struct ps_move_item item = { .range = parse_region_range(p) };

		more = false;
		if (to_nodes) {
			const char *word;
			size_t n;

			expect(p, "to");
			word = next(p, "a node");
			n = strlen(word);
			more = n && word[n - 1] == ',';
			item.node = parse_node_in(p, more ? keep(p, word, n - 1) : word);
		}
		add(p, &items, &item, sizeof(item));
	} while (more && !p->failed);
	p->st.n_items = (u32)items.n;
	p->st.items = keep_array(p, &items, sizeof(struct ps_move_item));
	if (!p->failed)
		p->st.range = p->st.items[0].range;
}

/* ---- verbs ---- */

static void parse_mmap(struct parser *p)
{
	struct ps_statement *st = &p->st;
	static const char *const kinds[] = { "anon", "file" };
	bool file;

	st->name = parse_region(p);
	st->bytes = parse_size(p);
	file = parse_choice(p, "'anon' or 'file'", kinds, 2) == 1;
	st->prot = PS_PROT_READ | PS_PROT_WRITE;
	if (file) {
		const char *path = next(p, "a file");

		if (!p->failed)
			check_path(p, path);
		st->path = keep_word(p, path);
		st->map = PS_MAP_SHARED;
	}
	while (!p->failed && peek(p)) {
		const char *word = peek(p);
		int prot = parse_prot_in(word);

		p->at++;
		if (prot >= 0)
			st->prot = (u32)prot;
		else if (!strcmp(word, "shared"))
			st->map |= PS_MAP_SHARED;
		else if (!strcmp(word, "private"))
			st->map &= ~(u32)PS_MAP_SHARED;
		else if (!strcmp(word, "populate"))
			st->map |= PS_MAP_POPULATE;
		else if (file && !strncmp(word, "at=", 3))
			st->number = parse_number_in(p, word + 3, "at=PAGE");
		else
			fail(p, "expected %sshared, private, ro, rw, none or populate, found '%s'",
			     file ? "at=PAGE, " : "", word);
	}
}

static void parse_madvise(struct parser *p)
{
	const char *word;

	p->st.range = parse_region_range(p);
	word = next(p, "an advice");
	p->st.advice = ps_advice_from_word(word);
	/* Advice that only tunes readahead means nothing here and is no word of the language. */
	if (p->st.advice < PS_ADVICE_WILLNEED)
		fail(p,
		     "expected an advice (hugepage, nohugepage, dontneed, free, cold, pageout, willneed, "
		     "populate_read, "
		     "populate_write, collapse, remove, dontfork, dofork, mergeable, unmergeable), found '%s'",
		     word);
}

static void parse_mbind(struct parser *p)
{
	p->st.range = parse_region_range(p);
	parse_policy(p);
	while (!p->failed && peek(p)) {
		if (got(p, "move"))
			p->st.bind |= PS_BIND_MOVE;
		else if (got(p, "move_all"))
			p->st.bind |= PS_BIND_MOVE_ALL;
		else if (got(p, "strict"))
			p->st.bind |= PS_BIND_STRICT;
		else
			fail(p, "expected move, move_all or strict, found '%s'", peek(p));
	}
}

static void parse_exchange(struct parser *p)
{
	static const char *const modes[] = { "async", "sync_light", "sync" };
	struct ps_statement *st = &p->st;

	st->range = parse_region_range(p);
	expect(p, "with");
	st->name = parse_task_in(p, next(p, "a task"), "a task");
	st->other = parse_region_range(p);
	st->mode = PS_EXCHANGE_SYNC;
	if (!p->failed && peek(p))
		st->mode = (enum ps_exchange_mode)parse_choice(p, "async, sync_light or sync", modes, 3);
}

static void parse_mremap(struct parser *p)
{
	p->st.range = parse_region_range(p);
	if (!p->failed && p->st.range.step != 1)
		fail(p, "expected a range without a step, found a step of %" PRIu64, p->st.range.step);
	expect(p, "to");
	p->st.other = parse_region_range(p);
}

static void parse_split(struct parser *p)
{
	p->st.range = parse_region_range(p);
	if (!p->failed && p->st.range.step != 1)
		fail(p, "expected a range without a step, found a step of %" PRIu64, p->st.range.step);
	if (got(p, "to"))
		p->st.number = parse_number(p, "an order");
}

static void parse_balloon(struct parser *p)
{
	const char *word = next(p, "+PAGES or -PAGES");
	u64 v = 0;
	const char *end = *word == '+' || *word == '-' ? digits(word + 1, &v) : NULL;

	if (!end || *end || v > PS_TRACE_VPN_END)
		fail(p, "expected +PAGES or -PAGES, found '%s'", word);
	else
		p->st.pages = *word == '-' ? -(s64)v : (s64)v;
}

/* The words of the line from the @from-th on, joined by one blank. */
static const char *join_words(struct parser *p, size_t from)
{
	char *const *words = p->words.data;
	struct ps_grow text = { 0 };
	const char *joined = "";

	for (size_t i = from; i < p->words.n && !p->failed; i++) {
		if (!ps_grow_add_many(&text, " ", i > from, 1) ||
		    !ps_grow_add_many(&text, words[i], strlen(words[i]), 1))
			no_memory(p);
	}
	if (!p->failed)
		joined = keep(p, text.data, text.n);
	ps_grow_free(&text);
	return joined;
}

/* The words that are left, joined: they are not ours to judge. */
static void parse_rest(struct parser *p, const char *what)
{
	size_t from = p->at;

	next(p, what);
	if (p->failed)
		return;
	p->at = p->words.n;
	p->st.name = join_words(p, from);
}

static void parse_operands(struct parser *p)
{
	static const char *const on_off[] = { "off", "on" }, *const begin_end[] = { "end", "begin" };
	struct ps_statement *st = &p->st;
	const char *word;
	int prot;

	switch (st->verb) {
	case PS_VERB_MACHINE:
		st->name = keep_word(p, next(p, "a machine"));
		break;
	case PS_VERB_QUIRK:
		st->name = keep_word(p, next(p, "a quirk"));
		break;
	case PS_VERB_EXPECT:
		parse_rest(p, "a result");
		break;
	case PS_VERB_START:
		word = peek(p);
		if (word && !strncmp(word, "cpu=", 4)) {
			p->at++;
			st->number = parse_number_in(p, word + 4, "cpu=N");
		}
		break;
	case PS_VERB_FORK:
	case PS_VERB_THREAD:
		st->name = parse_task_in(p, next(p, "the name of the new task"), "the name of a task");
		break;
	case PS_VERB_CPU:
		st->number = parse_number(p, "a CPU");
		break;
	case PS_VERB_MMAP:
		parse_mmap(p);
		break;
	case PS_VERB_RESERVE:
		st->name = parse_region(p);
		st->bytes = parse_size(p);
		break;
	case PS_VERB_MUNMAP:
	case PS_VERB_MLOCK:
	case PS_VERB_MUNLOCK:
	case PS_VERB_LOAD:
	case PS_VERB_GET:
	case PS_VERB_PUT:
	case PS_VERB_PIN:
	case PS_VERB_UNPIN:
	case PS_VERB_SHOW:
	case PS_VERB_SMAPS:
		st->range = parse_region_range(p);
		break;
	case PS_VERB_STORE:
	case PS_VERB_CHECK:
		st->range = parse_region_range(p);
		parse_value(p);
		break;
	case PS_VERB_MPROTECT:
		st->range = parse_region_range(p);
		word = next(p, "none, ro or rw");
		prot = parse_prot_in(word);
		if (prot < 0)
			fail(p, "expected none, ro or rw, found '%s'", word);
		else
			st->prot = (u32)prot;
		break;
	case PS_VERB_MREMAP:
		parse_mremap(p);
		break;
	case PS_VERB_MADVISE:
		parse_madvise(p);
		break;
	case PS_VERB_MEMPOLICY:
		parse_policy(p);
		break;
	case PS_VERB_MBIND:
		parse_mbind(p);
		break;
	case PS_VERB_PREAD:
	case PS_VERB_FSYNC:
		st->range = parse_file_range(p);
		break;
	case PS_VERB_PWRITE:
		st->range = parse_file_range(p);
		parse_value(p);
		break;
	case PS_VERB_TRUNCATE:
		st->range = parse_file_range(p);
		st->number = parse_number(p, "a number of pages");
		break;
	case PS_VERB_FADVISE:
		st->range = parse_file_range(p);
		expect(p, "dontneed");
		st->advice = PS_ADVICE_DONTNEED;
		break;
	case PS_VERB_MOVE_PAGES:
		parse_items(p, true);
		st->all = got(p, "all");
		break;
	case PS_VERB_STATUS:
		parse_items(p, false);
		break;
	case PS_VERB_MIGRATE_PAGES:
		st->nodes = parse_nodes(p, false);
		expect(p, "to");
		st->to_nodes = parse_nodes(p, false);
		break;
	case PS_VERB_EXCHANGE:
		parse_exchange(p);
		break;
	case PS_VERB_SPLIT:
		parse_split(p);
		break;
	case PS_VERB_KERNEL_COMPACT:
		st->node = PS_NODE_ALL;
		if (peek(p))
			st->node = (int)parse_number(p, "a node");
		break;
	case PS_VERB_KERNEL_DROP_CACHES:
		st->number = parse_number(p, "1, 2 or 3");
		if (!p->failed && (st->number < 1 || st->number > 3))
			fail(p, "expected 1, 2 or 3, found '%" PRIu64 "'", st->number);
		break;
	case PS_VERB_KERNEL_SWAP:
		st->on = parse_choice(p, "'on' or 'off'", on_off, 2) == 1;
		break;
	case PS_VERB_KERNEL_BALLOON:
		parse_balloon(p);
		break;
	case PS_VERB_KERNEL_SET:
		st->name = keep_word(p, next(p, "a setting"));
		st->word = keep_word(p, next(p, "a value"));
		break;
	case PS_VERB_KERNEL_RECLAIM:
		st->node = parse_node_in(p, next(p, "a node"));
		st->number = parse_number(p, "a number of pages");
		break;
	case PS_VERB_KERNEL_WRITEBACK:
		st->range = parse_file_range(p);
		st->on = parse_choice(p, "'begin' or 'end'", begin_end, 2) == 1;
		break;
	case PS_VERB_RACE:
	case PS_VERB_END:
	case PS_VERB_EXIT:
	case PS_VERB_UNPRIVILEGED:
	case PS_VERB_CLEAR_REFS:
	case PS_VERB_KERNEL_DRAIN:
	case PS_VERB_KERNEL_NODES:
	case PS_VERB_KERNEL_VMSTAT:
	case PS_VERB_KERNEL_COUNTERS:
	case PS_VERBS:
		break;
	}
	if (!p->failed && peek(p))
		fail(p, "expected the end of the statement, found '%s'", peek(p));
}

static bool find_verb(struct parser *p, enum ps_subject subject, const char *word)
{
	for (int i = 0; i < PS_VERBS; i++) {
		if (verbs[i].subject != subject || strcmp(verbs[i].word, word))
			continue;
		p->st.verb = (enum ps_verb)i;
		return true;
	}
	return false;
}

static void parse_verb(struct parser *p)
{
	struct ps_statement *st = &p->st;
	const char *word = next(p, "a statement");

	if (find_verb(p, PS_SUBJECT_SCRIPT, word)) {
		if (st->racer && !p->failed)
			fail(p, "expected a statement of a task or the kernel behind '%s:', found '%s'", st->racer,
			     word);
	} else if (!strcmp(word, "kernel")) {
		st->subject = "kernel";
		word = next(p, "a verb of the kernel");
		if (!find_verb(p, PS_SUBJECT_KERNEL, word))
			fail(p, "expected a verb of the kernel, found '%s'", word);
	} else {
		st->subject = parse_task_in(p, word, "a task, 'kernel' or a word of the script");
		word = next(p, "a verb of a task");
		if (!find_verb(p, PS_SUBJECT_TASK, word))
			fail(p, "expected a verb of a task, found '%s'", word);
	}
	if (!p->failed)
		parse_operands(p);
}

/* Puts the line into the order of races: what may stand where. */
static void check_race(struct parser *p)
{
	const struct ps_statement *st = &p->st;

	if (st->verb == PS_VERB_RACE) {
		if (p->in_race)
			fail(p, "expected 'NAME: STATEMENT' or 'end', found 'race' inside a race");
		p->in_race = true;
	} else if (st->verb == PS_VERB_END) {
		if (!p->in_race)
			fail(p, "expected a statement, found 'end' without 'race'");
		p->in_race = false;
	} else if (p->in_race && !st->racer && st->verb != PS_VERB_EXPECT) {
		fail(p, "expected 'NAME: STATEMENT' or 'end' inside a race, found '%s'", st->text);
	} else if (!p->in_race && st->racer) {
		fail(p, "expected a statement, found '%s:' outside a race", st->racer);
	}
}

static void parse_statement(struct parser *p)
{
	struct ps_statement *st = &p->st;
	const char *word = peek(p);
	size_t n = strlen(word);

	if (n > 1 && word[n - 1] == ':') {
		const char *name = keep(p, word, n - 1);

		if (!p->failed)
			st->racer = parse_name_in(p, name, "the name of a racer", TASK_NAME_MAX);
		p->at++;
		word = peek(p);
	}
	if (!p->failed && word && *word == '@') {
		st->has_time = true;
		if (ps_parse_time(word + 1, &st->time))
			fail(p, "expected a time (@5, @250us, @1.5ms, @2s), found '%s'", word);
		p->at++;
	}
	if (!p->failed)
		parse_verb(p);
	if (!p->failed)
		check_race(p);
}

/* ---- lines ---- */

/* Cuts @line, which it changes, into words. */
static void cut(struct parser *p, char *line)
{
	char *c = strchr(line, '#');

	if (c)
		*c = 0;
	p->words.n = 0;
	p->at = 0;
	for (c = line; *c;) {
		c += strspn(c, " \t\r");
		if (!*c)
			break;
		add(p, &p->words, &c, sizeof(c));
		c += strcspn(c, " \t\r");
		if (*c)
			*c++ = 0;
	}
}

static void parse_line(struct parser *p, const char *text, size_t n)
{
	char *line = ps_alloc(n + 1);

	p->line++;
	memset(&p->st, 0, sizeof(p->st));
	p->st.subject = "";
	p->st.line = p->line;
	p->st.text = "";
	if (!line) {
		no_memory(p);
		return;
	}
	memcpy(line, text, n);
	line[n] = 0;
	if (memchr(text, 0, n) || !g_utf8_validate(text, (gssize)n, NULL)) {
		fail(p, "expected UTF-8 text, found other bytes");
		goto out_free;
	}
	for (const char *c = line; *c; c++) {
		if (((u8)*c < ' ' && !strchr("\t\r", *c)) || *c == 127) {
			fail(p, "expected text, found control character %u", (u8)*c);
			goto out_free;
		}
	}
	cut(p, line);
	if (!p->words.n || p->failed)
		goto out_free;
	p->st.text = join_words(p, 0);
	if (!p->failed)
		parse_statement(p);
	if (!p->failed)
		add(p, &p->statements, &p->st, sizeof(p->st));
out_free:
	ps_free(line);
}

struct ps_script *ps_script_parse(const char *text, size_t length, const char *name)
{
	struct parser *p = ps_zalloc(sizeof(*p));
	const char *end = text + length;

	if (!p)
		return NULL;
	p->name = ps_strdup(name);
	if (!p->name) {
		ps_free(p);
		return NULL;
	}
	while (text < end && !p->failed) {
		const char *newline = memchr(text, '\n', (size_t)(end - text));
		const char *line_end = newline ? newline : end;

		parse_line(p, text, (size_t)(line_end - text));
		text = newline ? newline + 1 : end;
	}
	if (p->in_race && !p->failed) {
		p->st.text = "";
		fail(p, "expected 'end', found the end of the script inside a race");
	}
	ps_grow_free(&p->words);
	p->script.name = p->name;
	p->script.statements = p->statements.data;
	p->script.n = (u32)p->statements.n;
	p->script.error = p->error;
	p->script.error_line = p->failed ? p->line : 0;
	p->script.error_text = p->failed ? p->st.text : "";
	return &p->script;
}

struct ps_script *ps_script_open(const char *path, const char *name, GError **error)
{
	struct ps_grow text = { 0 };
	int fd = strcmp(path, "-") ? open(path, O_RDONLY | O_CLOEXEC) : STDIN_FILENO;
	struct ps_script *script = NULL;
	char buffer[16384];
	ssize_t n = -1;

	if (fd >= 0) {
		while ((n = read(fd, buffer, sizeof(buffer))) > 0 || (n < 0 && errno == EINTR))
			if (n > 0 && !ps_grow_add_many(&text, buffer, (size_t)n, 1))
				break;
	}
	if (n < 0)
		g_set_error(error, PS_TRACE_ERROR, PS_TRACE_ERROR_IO, "%s: cannot read: %s", path, g_strerror(errno));
	else if (!n)
		script = ps_script_parse(text.n ? text.data : "", text.n, name ? name : path);
	if (!n ? !script : n > 0)
		g_set_error(error, PS_TRACE_ERROR, PS_TRACE_ERROR_MEMORY, "%s: out of memory", path);
	if (fd > STDIN_FILENO)
		close(fd);
	ps_grow_free(&text);
	return script;
}

void ps_script_free(struct ps_script *script)
{
	struct parser *p;

	if (!script)
		return;
	p = container_of(script, struct parser, script);
	ps_grow_free(&p->statements);
	while (p->blocks) {
		struct block *next = p->blocks->next;

		ps_free(p->blocks);
		p->blocks = next;
	}
	g_clear_error(&p->error);
	ps_free(p->name);
	ps_free(p);
}
