/* SPDX-License-Identifier: MIT */
/*
 * The writer of `.pgt`. Records are folded where they lie: the frame being filled is two arrays, pages and meta words, and
 * an access either adds to a word already there or appends one. Only when a frame is closed are the distinct pages
 * collected and ranked, the columns made and compressed, and everything goes out in one write. Nothing is ever
 * corrected behind, so the output may be a pipe; the offsets for the index are kept until the end.
 *
 * Errors stick: the first one is kept, everything after it does nothing, and finish reports it.
 *
 * What may be folded into (indices into the frame's arrays):
 *
 *        batch_start          fold_from                 n
 *   .... | records of the batch | may be folded into ... |
 *
 * fold_from is the batch's start, or lies behind the last record that came ready-made. The search goes back from n, past no
 * more than `fold` records of the same class (data or fetch).
 */
#include "trace/crc32c.h"
#include "trace/pgt.h"

#include <pagesim/alloc.h>

#include <stdlib.h>
#include <unistd.h>
#include <zstd.h>

/* Growing bytes; on failure they stay as they are and the caller reports. */
struct buffer {
	u8 *bytes;
	size_t n;
	size_t room;
};

/* What a record says beside its page, and how many of the frame say it. */
struct shape {
	u32 meta;
	u32 records;
};

struct total {
	char *name;
	u64 value;
};

struct ps_trace_writer {
	int fd;
	char *name;
	GError *error;
	bool started; /* the header is out */
	bool finished;

	char *source, *command, *created_by, *note;
	enum ps_trace_clock clock;
	u32 fold;
	u32 frame_records;
	ZSTD_CCtx *zstd;

	/* the frame being filled */
	u64 *vpn; /* [frame_records] */
	u32 *meta;
	u32 n;
	u64 frame_time;
	u64 frame_accesses;
	u32 frame_events;
	struct buffer items;
	u64 item_end; /* time at which the last item ended */

	/* the batch being filled: records batch_start..n of the frame */
	bool in_batch;
	u32 batch_start;
	u32 fold_from;
	u32 last_data; /* newest record of its class in the batch, or n when there is none to fold into */
	u32 last_fetch;
	u32 task;
	u64 batch_time;
	u64 now;

	/* ranking, see rank_pages() and list_shapes() */
	u64 *slot_vpn; /* hash table */
	u32 *slot_id;
	size_t slots;
	u64 *distinct; /* [frame_records] in order of appearance, then sorted */
	u32 *order;    /* [frame_records] ids in ascending order of page */
	u32 *rank;     /* [frame_records] id to rank */
	u32 *id;       /* [frame_records] record to id */
	u64 *sort_vpn; /* scratch of the sort */
	u32 *sort_order;

	struct shape *shapes; /* [frame_records] */
	struct buffer column; /* being made */
	struct buffer stored; /* a section being made */
	struct buffer index;
	u64 offset; /* bytes written so far */
	u64 last_frame_time;
	u32 frames;

	u64 accesses, reads, writes, fetches, records, events;
	u32 tasks;
	GArray *totals; /* struct total */
};

#define NO_RECORD 0xffffffffu

static void G_GNUC_PRINTF(3, 4) fail(struct ps_trace_writer *w, enum ps_trace_error code, const char *format, ...)
{
	va_list args;
	char *message;

	if (w->error)
		return;
	va_start(args, format);
	message = g_strdup_vprintf(format, args);
	va_end(args);
	w->error = g_error_new(PS_TRACE_ERROR, code, "%s: %s", w->name, message);
	g_free(message);
}

static bool reserve(struct ps_trace_writer *w, struct buffer *b, size_t more)
{
	size_t room = b->room ? b->room : 4096;
	u8 *bytes;

	if (b->n + more <= b->room)
		return true;
	while (room < b->n + more)
		room *= 2;
	bytes = ps_realloc(b->bytes, room);
	if (!bytes) {
		fail(w, PS_TRACE_ERROR_MEMORY, "out of memory");
		return false;
	}
	b->bytes = bytes;
	b->room = room;
	return true;
}

static void put_varint(struct buffer *b, u64 v)
{
	b->n = pgt_put_varint(b->bytes + b->n, v) - b->bytes;
}

static void put_bytes(struct buffer *b, const void *bytes, size_t n)
{
	if (n)
		memcpy(b->bytes + b->n, bytes, n);
	b->n += n;
}

static void write_out(struct ps_trace_writer *w, const void *bytes, size_t n)
{
	const u8 *p = bytes;

	while (n && !w->error) {
		ssize_t k = write(w->fd, p, n);

		if (k < 0) {
			if (errno == EINTR)
				continue;
			fail(w, PS_TRACE_ERROR_IO, "cannot write: %s", g_strerror(errno));
			return;
		}
		p += k;
		n -= k;
		w->offset += k;
	}
}

/* A copy that a reader will accept: UTF-8, and no longer than a name may be. */
static char *clean_string(const char *s)
{
	char *valid = g_utf8_make_valid(s ? s : "", -1);
	size_t n = strlen(valid);

	if (n > PGT_NAME_MAX) {
		n = PGT_NAME_MAX;
		while (((u8)valid[n] & 0xc0) == 0x80)
			n--;
		valid[n] = 0;
	}
	return valid;
}

static void write_header(struct ps_trace_writer *w)
{
	const char *const strings[] = { w->source, w->command, w->created_by, w->note };
	size_t lengths[G_N_ELEMENTS(strings)];
	size_t n = PGT_HEADER_FIXED + 4;
	u8 *bytes, *p;

	w->started = true;
	for (size_t i = 0; i < G_N_ELEMENTS(strings); i++) {
		lengths[i] = strlen(strings[i]);
		n += 4 + lengths[i];
	}
	bytes = ps_zalloc(n);
	if (!bytes) {
		fail(w, PS_TRACE_ERROR_MEMORY, "out of memory");
		return;
	}
	memcpy(bytes, PGT_MAGIC, PGT_MAGIC_BYTES);
	bytes[8] = PS_PGT_VERSION;
	bytes[10] = (u8)w->clock;
	pgt_put32(bytes + 12, (u32)n);
	pgt_put32(bytes + 16, PS_TRACE_PAGE_SIZE);
	pgt_put32(bytes + 20, w->fold);
	p = bytes + PGT_HEADER_FIXED;
	for (size_t i = 0; i < G_N_ELEMENTS(strings); i++) {
		pgt_put32(p, (u32)lengths[i]);
		memcpy(p + 4, strings[i], lengths[i]);
		p += 4 + lengths[i];
	}
	pgt_put32(p, trace_crc32c(0, bytes, n - 4));
	write_out(w, bytes, n);
	ps_free(bytes);
}

static bool alloc_ranking(struct ps_trace_writer *w)
{
	u32 n = w->frame_records;

	w->vpn = ps_calloc(n, sizeof(*w->vpn));
	w->meta = ps_calloc(n, sizeof(*w->meta));
	w->distinct = ps_calloc(n, sizeof(*w->distinct));
	w->order = ps_calloc(n, sizeof(*w->order));
	w->rank = ps_calloc(n, sizeof(*w->rank));
	w->id = ps_calloc(n, sizeof(*w->id));
	w->sort_vpn = ps_calloc(n, sizeof(*w->sort_vpn));
	w->sort_order = ps_calloc(n, sizeof(*w->sort_order));
	w->shapes = ps_calloc(n, sizeof(*w->shapes));
	for (w->slots = 16; w->slots < 2 * (size_t)n;)
		w->slots *= 2;
	w->slot_vpn = ps_calloc(w->slots, sizeof(*w->slot_vpn));
	w->slot_id = ps_calloc(w->slots, sizeof(*w->slot_id));
	return w->vpn && w->meta && w->distinct && w->order && w->rank && w->id && w->sort_vpn && w->sort_order &&
	       w->shapes && w->slot_vpn && w->slot_id;
}

struct ps_trace_writer *ps_trace_writer_new(int fd, const char *name, const struct ps_trace_info *info,
					    const struct ps_trace_writer_settings *settings, GError **error)
{
	static const struct ps_trace_writer_settings defaults;
	struct ps_trace_writer *w = ps_zalloc(sizeof(*w));

	if (!w) {
		g_set_error(error, PS_TRACE_ERROR, PS_TRACE_ERROR_MEMORY, "%s: out of memory", name);
		return NULL;
	}
	if (!settings)
		settings = &defaults;
	w->fd = fd;
	w->name = g_strdup(name);
	w->source = clean_string(info->source);
	w->command = clean_string(info->command);
	w->created_by = clean_string(info->created_by);
	w->note = clean_string(info->note);
	w->clock = info->clock;
	w->fold = settings->fold ? settings->fold : 1;
	w->frame_records = settings->frame_records ? settings->frame_records : PGT_FRAME_RECORDS;
	w->last_data = w->last_fetch = NO_RECORD;
	w->totals = g_array_new(false, false, sizeof(struct total));
	if (w->fold > 64 || w->frame_records > PGT_FRAME_RECORDS || settings->level > ZSTD_maxCLevel()) {
		fail(w, PS_TRACE_ERROR_ARGUMENT,
		     "cannot write with fold %u, %u records a frame and compression level %d", w->fold,
		     w->frame_records, settings->level);
		goto out_free;
	}
	w->zstd = ZSTD_createCCtx();
	if (!w->zstd || !alloc_ranking(w)) {
		fail(w, PS_TRACE_ERROR_MEMORY, "out of memory");
		goto out_free;
	}
	ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_compressionLevel, settings->level ? settings->level : 6);
	ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_checksumFlag, 0);
	return w;
out_free:
	g_propagate_error(error, w->error);
	w->error = NULL;
	ps_trace_writer_free(w);
	return NULL;
}

bool ps_trace_writer_set_command(struct ps_trace_writer *w, const char *command)
{
	if (w->started || w->n || w->items.n)
		return false;
	g_free(w->command);
	w->command = clean_string(command);
	return true;
}

/* ---- closing a frame ---- */

static size_t hash_page(u64 vpn)
{
	return (size_t)((vpn * 0x9e3779b97f4a7c15ull) >> 24);
}

/*
 * Sorts w->distinct[0..n) and leaves in w->order which id each came from: least significant digit first, eight bits a pass,
 * passes in which all pages agree left out.
 */
static void sort_distinct(struct ps_trace_writer *w, u32 n)
{
	u64 differ = 0;

	for (u32 i = 0; i < n; i++) {
		w->order[i] = i;
		differ |= w->distinct[i] ^ w->distinct[0];
	}
	for (unsigned int shift = 0; shift < 64; shift += 8) {
		u32 start[257] = { 0 };
		u64 *vpn;
		u32 *order;

		if (!(differ >> shift & 0xff))
			continue;
		for (u32 i = 0; i < n; i++)
			start[(w->distinct[i] >> shift & 0xff) + 1]++;
		for (u32 d = 0; d < 256; d++)
			start[d + 1] += start[d];
		for (u32 i = 0; i < n; i++) {
			u32 to = start[w->distinct[i] >> shift & 0xff]++;

			w->sort_vpn[to] = w->distinct[i];
			w->sort_order[to] = w->order[i];
		}
		vpn = w->distinct;
		w->distinct = w->sort_vpn;
		w->sort_vpn = vpn;
		order = w->order;
		w->order = w->sort_order;
		w->sort_order = order;
	}
}

/*
 * Gives every distinct page of the frame an id in order of appearance (through a hash table, whose entries are 1 + id and
 * are taken out again afterwards), then ranks the ids by page. Return: distinct pages.
 */
static u32 rank_pages(struct ps_trace_writer *w)
{
	size_t mask = w->slots - 1;
	u32 n = 0;

	for (u32 i = 0; i < w->n; i++) {
		size_t s = hash_page(w->vpn[i]) & mask;

		while (w->slot_id[s] && w->slot_vpn[s] != w->vpn[i])
			s = (s + 1) & mask;
		if (!w->slot_id[s]) {
			w->slot_vpn[s] = w->vpn[i];
			w->distinct[n++] = w->vpn[i];
			w->slot_id[s] = n;
		}
		w->id[i] = w->slot_id[s] - 1;
	}
	if (n * 8 > w->slots) {
		memset(w->slot_id, 0, w->slots * sizeof(*w->slot_id));
	} else {
		/* Every entry of a probe sequence goes, so it does not matter that emptied ones end it early. */
		for (u32 i = 0; i < n; i++) {
			size_t s = hash_page(w->distinct[i]) & mask;

			while (w->slot_vpn[s] != w->distinct[i])
				s = (s + 1) & mask;
			w->slot_id[s] = 0;
		}
	}
	sort_distinct(w, n);
	for (u32 i = 0; i < n; i++)
		w->rank[w->order[i]] = i;
	return n;
}

/* Most records first; what is equally frequent, by value, so that the same trace gives the same bytes. */
static int compare_shapes(const void *a, const void *b)
{
	const struct shape *x = a, *y = b;

	if (x->records != y->records)
		return x->records < y->records ? 1 : -1;
	return x->meta < y->meta ? -1 : x->meta > y->meta;
}

/*
 * Counts the meta words of the frame and puts the most frequent into w->shapes. Leaves in w->id the number of each record's
 * word and in w->rank the code of each number. Return: how many are listed.
 */
static u32 list_shapes(struct ps_trace_writer *w)
{
	size_t mask = w->slots - 1;
	u32 n = 0, listed;

	for (u32 i = 0; i < w->n; i++) {
		size_t s = hash_page(w->meta[i]) & mask;

		while (w->slot_id[s] && w->slot_vpn[s] != w->meta[i])
			s = (s + 1) & mask;
		if (!w->slot_id[s]) {
			w->slot_vpn[s] = w->meta[i];
			w->shapes[n].meta = w->meta[i];
			w->shapes[n++].records = 0;
			w->slot_id[s] = n;
		}
		w->id[i] = w->slot_id[s] - 1;
		w->shapes[w->id[i]].records++;
	}
	for (u32 i = 0; i < n; i++)
		w->rank[i] = PGT_ESCAPE;
	qsort(w->shapes, n, sizeof(*w->shapes), compare_shapes);
	listed = MIN(n, PGT_SHAPES);
	for (u32 i = 0; i < n; i++) {
		size_t s = hash_page(w->shapes[i].meta) & mask;

		while (w->slot_vpn[s] != w->shapes[i].meta || !w->slot_id[s])
			s = (s + 1) & mask;
		if (i < listed)
			w->rank[w->slot_id[s] - 1] = i;
	}
	memset(w->slot_id, 0, w->slots * sizeof(*w->slot_id));
	return listed;
}

/* A column is kept as it is unless compression saves an eighth of it: what is nearly random is faster to read that way. */
static bool worth(size_t stored, size_t raw)
{
	return stored < raw - raw / 8;
}

/* Compresses a column behind those that are in w->stored already. */
static bool store_column(struct ps_trace_writer *w, struct pgt_section *s, enum pgt_column c, const void *bytes,
			 size_t n)
{
	size_t bound = ZSTD_compressBound(n);
	size_t stored;

	s->raw[c] = (u32)n;
	s->stored[c] = 0;
	if (!n)
		return true;
	if (!reserve(w, &w->stored, bound))
		return false;
	stored = ZSTD_compress2(w->zstd, w->stored.bytes + w->stored.n, bound, bytes, n);
	if (ZSTD_isError(stored)) {
		fail(w, PS_TRACE_ERROR_MEMORY, "cannot compress: %s", ZSTD_getErrorName(stored));
		return false;
	}
	if (!worth(stored, n)) {
		memcpy(w->stored.bytes + w->stored.n, bytes, n);
		stored = n;
	}
	s->stored[c] = (u32)stored;
	w->stored.n += stored;
	return true;
}

/* Room for the head, to be filled in when the columns behind it are known. */
static bool begin_section(struct ps_trace_writer *w)
{
	w->stored.n = 0;
	if (!reserve(w, &w->stored, PGT_SECTION_BYTES))
		return false;
	w->stored.n = PGT_SECTION_BYTES;
	return true;
}

/* Return: bytes written, 0 after an error. */
static u64 end_section(struct ps_trace_writer *w, struct pgt_section *s)
{
	u64 before = w->offset;

	s->crc = trace_crc32c(0, w->stored.bytes + PGT_SECTION_BYTES, w->stored.n - PGT_SECTION_BYTES);
	pgt_section_encode(s, w->stored.bytes);
	pgt_put32(w->stored.bytes + PGT_SECTION_BYTES - 4, trace_crc32c(0, w->stored.bytes, PGT_SECTION_BYTES - 4));
	write_out(w, w->stored.bytes, w->stored.n);
	return w->error ? 0 : w->offset - before;
}

static bool store_pages(struct ps_trace_writer *w, struct pgt_section *s)
{
	u64 previous = 0;
	u8 *bytes;

	s->distinct = rank_pages(w);
	w->column.n = 0;
	if (!reserve(w, &w->column, MAX((size_t)s->distinct * PGT_VARINT_MAX, w->n)))
		return false;
	for (u32 i = 0; i < s->distinct; i++) {
		put_varint(&w->column, w->distinct[i] - previous);
		previous = w->distinct[i];
	}
	if (!store_column(w, s, PGT_PAGES, w->column.bytes, w->column.n))
		return false;
	bytes = w->column.bytes;
	for (u32 i = 0; i < w->n; i++)
		bytes[i] = (u8)w->rank[w->id[i]];
	if (!store_column(w, s, PGT_LOW, bytes, w->n))
		return false;
	for (u32 i = 0; i < w->n; i++)
		bytes[i] = (u8)(w->rank[w->id[i]] >> 8);
	return store_column(w, s, PGT_HIGH, bytes, s->distinct > 256 ? w->n : 0);
}

static bool store_shapes(struct ps_trace_writer *w, struct pgt_section *s)
{
	u8 *bytes;

	s->shapes = list_shapes(w);
	w->column.n = 0;
	if (!reserve(w, &w->column, MAX((size_t)w->n, PGT_SHAPES) * 5))
		return false;
	for (u32 i = 0; i < s->shapes; i++)
		put_varint(&w->column, w->shapes[i].meta);
	if (!store_column(w, s, PGT_SHAPE_LIST, w->column.bytes, w->column.n))
		return false;
	bytes = w->column.bytes;
	for (u32 i = 0; i < w->n; i++)
		bytes[i] = (u8)w->rank[w->id[i]];
	if (!store_column(w, s, PGT_CODES, bytes, w->n))
		return false;
	w->column.n = 0;
	for (u32 i = 0; i < w->n; i++)
		if (w->rank[w->id[i]] == PGT_ESCAPE)
			put_varint(&w->column, w->meta[i]);
	return store_column(w, s, PGT_OVERFLOW, w->column.bytes, w->column.n);
}

static void end_batch(struct ps_trace_writer *w, u64 time);

static void close_frame(struct ps_trace_writer *w)
{
	struct pgt_section s = { .magic = PGT_FRAME_MAGIC };
	u64 bytes, raw = 0;

	end_batch(w, w->now);
	if (w->error || !w->items.n)
		goto out_empty;
	if (!w->started)
		write_header(w);
	s.number = w->frames;
	s.records = w->n;
	s.events = w->frame_events;
	s.accesses = w->frame_accesses;
	s.time = w->frame_time;
	if (!begin_section(w) || !store_column(w, &s, PGT_ITEMS, w->items.bytes, w->items.n) || !store_pages(w, &s) ||
	    !store_shapes(w, &s))
		goto out_empty;
	for (int c = 0; c < PGT_COLUMNS; c++)
		raw += s.raw[c];
	bytes = end_section(w, &s);
	if (bytes && reserve(w, &w->index, 6 * PGT_VARINT_MAX)) {
		put_varint(&w->index, bytes);
		put_varint(&w->index, raw);
		put_varint(&w->index, s.records);
		put_varint(&w->index, s.events);
		put_varint(&w->index, s.accesses);
		put_varint(&w->index, s.time - w->last_frame_time);
		w->last_frame_time = s.time;
		w->frames++;
	}
out_empty:
	w->items.n = 0;
	w->n = 0;
	w->frame_events = 0;
	w->frame_accesses = 0;
	w->batch_start = w->fold_from = 0;
}

/* ---- items ---- */

/* Head of an item that begins at @time. */
static bool put_item(struct ps_trace_writer *w, u32 what, u32 task, u64 time, size_t more)
{
	if (!reserve(w, &w->items, 3 * PGT_VARINT_MAX + more))
		return false;
	if (!w->items.n) {
		w->frame_time = time;
		w->item_end = time;
	}
	put_varint(&w->items, what);
	put_varint(&w->items, task);
	put_varint(&w->items, time - w->item_end);
	w->item_end = time;
	w->tasks = MAX(w->tasks, task + 1);
	return true;
}

static void end_batch(struct ps_trace_writer *w, u64 time)
{
	u32 n = w->n - w->batch_start;

	if (!w->in_batch)
		return;
	w->in_batch = false;
	w->last_data = w->last_fetch = NO_RECORD;
	for (u32 i = w->batch_start; i < w->n; i++) {
		u32 meta = w->meta[i];
		u32 count = ps_meta_count(meta);

		w->frame_accesses += count;
		w->accesses += count;
		if (ps_meta_is_fetch(meta)) {
			w->fetches += count;
		} else {
			w->reads += ps_meta_reads(meta);
			w->writes += ps_meta_writes(meta);
		}
	}
	w->records += n;
	w->batch_start = w->fold_from = w->n;
	if (!put_item(w, 0, w->task, w->batch_time, 2 * PGT_VARINT_MAX))
		return;
	put_varint(&w->items, n);
	put_varint(&w->items, time - w->batch_time);
	w->item_end = time;
}

static void set_now(struct ps_trace_writer *w, u64 time)
{
	w->now = MAX(w->now, time);
}

void ps_trace_writer_cut(struct ps_trace_writer *w, u64 time)
{
	set_now(w, time);
	end_batch(w, w->now);
}

/* One more record, of @vpn by @task at @time, its meta word still to come: where it lies, or NO_RECORD after an error. */
static u32 new_record(struct ps_trace_writer *w, u32 task, u64 vpn, u64 time)
{
	u64 before = w->now;

	if (unlikely(w->error))
		return NO_RECORD;
	set_now(w, time);
	if (w->in_batch && (task != w->task || w->n - w->batch_start == PS_TRACE_BATCH_MAX))
		end_batch(w, task == w->task ? w->now : before);
	if (w->n == w->frame_records || w->items.n >= PGT_FRAME_ITEMS)
		close_frame(w);
	if (unlikely(vpn >= PS_TRACE_VPN_END)) {
		fail(w, PS_TRACE_ERROR_ARGUMENT, "page %#" G_GINT64_MODIFIER "x is beyond 64-bit addresses", vpn);
		return NO_RECORD;
	}
	if (!w->in_batch) {
		if (task >= PS_TASK_MAX) {
			fail(w, PS_TRACE_ERROR_ARGUMENT, "task %u is beyond the last possible one, %u", task,
			     PS_TASK_MAX - 1);
			return NO_RECORD;
		}
		w->in_batch = true;
		w->task = task;
		w->batch_time = w->now;
		w->batch_start = w->fold_from = w->n;
	}
	w->vpn[w->n] = vpn;
	return w->n++;
}

/* The record among the last w->fold ones of its class that holds @vpn, or NO_RECORD. */
static u32 find_record(const struct ps_trace_writer *w, u64 vpn, u32 class_bit)
{
	u32 left = w->fold;

	for (u32 i = w->n; i-- > w->fold_from && left;) {
		if ((w->meta[i] & PS_META_FETCH) != class_bit)
			continue;
		if (w->vpn[i] == vpn)
			return i;
		left--;
	}
	return NO_RECORD;
}

static bool has_room(u32 meta, enum ps_access_kind kind)
{
	bool reads = ps_meta_reads(meta) < PS_META_COUNT_MAX;
	bool writes = ps_meta_writes(meta) < PS_META_COUNT_MAX;

	return (kind == PS_ACCESS_WRITE || reads) && (kind == PS_ACCESS_READ || kind == PS_ACCESS_FETCH || writes);
}

static const u32 first_meta[] = {
	[PS_ACCESS_READ] = 1,
	[PS_ACCESS_WRITE] = 1u << PS_META_WRITES_SHIFT | PS_META_FIRST_WRITE,
	[PS_ACCESS_MODIFY] = 1 | 1u << PS_META_WRITES_SHIFT,
	[PS_ACCESS_FETCH] = 1 | PS_META_FETCH,
};

void ps_trace_writer_access(struct ps_trace_writer *w, u32 task, u64 vpn, enum ps_access_kind kind, u64 time)
{
	u32 *last = kind == PS_ACCESS_FETCH ? &w->last_fetch : &w->last_data;
	u32 i = NO_RECORD;

	if (likely(w->in_batch && task == w->task)) {
		if (*last != NO_RECORD && w->vpn[*last] == vpn)
			i = *last;
		else if (w->fold > 1)
			i = find_record(w, vpn, kind == PS_ACCESS_FETCH ? PS_META_FETCH : 0);
	}
	if (i != NO_RECORD && has_room(w->meta[i], kind)) {
		w->meta[i] += first_meta[kind] & ~(PS_META_FIRST_WRITE | PS_META_FETCH);
		set_now(w, time);
		return;
	}
	i = new_record(w, task, vpn, time);
	if (unlikely(i == NO_RECORD))
		return;
	w->meta[i] = first_meta[kind];
	*last = i;
}

void ps_trace_writer_record(struct ps_trace_writer *w, u32 task, u64 vpn, u32 meta, u64 time)
{
	u32 i;

	if (!ps_meta_is_fetch(meta))
		meta = ps_meta_data(ps_meta_reads(meta), ps_meta_writes(meta), ps_meta_first_is_write(meta));
	if (!pgt_meta_valid(meta)) {
		fail(w, PS_TRACE_ERROR_ARGUMENT, "%08x is no meta word of an access", meta);
		return;
	}
	i = new_record(w, task, vpn, time);
	if (unlikely(i == NO_RECORD))
		return;
	w->meta[i] = meta;
	w->fold_from = w->n;
	w->last_data = w->last_fetch = NO_RECORD;
}

void ps_trace_writer_event(struct ps_trace_writer *w, const struct ps_event *e)
{
	unsigned int fields;
	size_t name;

	if (w->error)
		return;
	if ((u32)e->kind >= PS_EVENT_KINDS || e->task >= PS_TASK_MAX ||
	    (e->other >= PS_TASK_MAX && e->other != PS_TASK_NONE)) {
		fail(w, PS_TRACE_ERROR_ARGUMENT, "event %u of task %u cannot be written", (unsigned int)e->kind,
		     e->task);
		return;
	}
	set_now(w, e->time);
	end_batch(w, w->now);
	if (w->items.n >= PGT_FRAME_ITEMS)
		close_frame(w);
	fields = ps_event_fields(e->kind);
	name = fields & PS_FIELD_NAME ? strlen(e->name) : 0;
	if (name > PGT_NAME_MAX) {
		fail(w, PS_TRACE_ERROR_ARGUMENT, "a name of %zu bytes is longer than %u", name, PGT_NAME_MAX);
		return;
	}
	if (!put_item(w, 1 + (u32)e->kind, e->task, w->now, 16 * PGT_VARINT_MAX + name))
		return;
	if (fields & PS_FIELD_OTHER) {
		put_varint(&w->items, (u32)(e->other + 1));
		if (e->other != PS_TASK_NONE)
			w->tasks = MAX(w->tasks, e->other + 1);
	}
	if (fields & PS_FIELD_IDS) {
		put_varint(&w->items, e->pid);
		put_varint(&w->items, e->tid);
	}
	if (fields & PS_FIELD_RANGE) {
		put_varint(&w->items, e->vpn);
		put_varint(&w->items, e->pages);
	}
	if (fields & PS_FIELD_TO) {
		put_varint(&w->items, e->to_vpn);
		put_varint(&w->items, e->to_pages);
	}
	if (fields & PS_FIELD_PROT)
		put_varint(&w->items, e->prot);
	if (fields & PS_FIELD_FLAGS)
		put_varint(&w->items, e->flags);
	if (fields & PS_FIELD_ADVICE)
		put_varint(&w->items, (u32)e->advice);
	if (fields & PS_FIELD_OFFSET)
		put_varint(&w->items, e->offset);
	if (fields & PS_FIELD_LENGTH)
		put_varint(&w->items, e->length);
	if (fields & PS_FIELD_LINE)
		put_varint(&w->items, e->line);
	if (fields & PS_FIELD_NAME) {
		put_varint(&w->items, name);
		put_bytes(&w->items, e->name, name);
	}
	w->frame_events++;
	w->events++;
}

void ps_trace_writer_total(struct ps_trace_writer *w, const char *name, u64 value)
{
	struct total total = { .value = value };

	for (guint i = 0; i < w->totals->len; i++) {
		struct total *t = &g_array_index(w->totals, struct total, i);

		if (!strcmp(t->name, name)) {
			t->value += value;
			return;
		}
	}
	total.name = clean_string(name);
	g_array_append_val(w->totals, total);
}

bool ps_trace_writer_ok(struct ps_trace_writer *w, GError **error)
{
	if (w->error && error)
		*error = g_error_copy(w->error);
	return !w->error;
}

static void put_total(struct ps_trace_writer *w, const char *name, u64 value)
{
	size_t n = strlen(name);

	if (!reserve(w, &w->column, n + 2 * PGT_VARINT_MAX))
		return;
	put_varint(&w->column, n);
	put_bytes(&w->column, name, n);
	put_varint(&w->column, value);
}

static void write_index(struct ps_trace_writer *w)
{
	struct pgt_section s = { .magic = PGT_INDEX_MAGIC, .number = w->frames };
	u64 index_offset = w->offset;
	u8 footer[PGT_FOOTER_BYTES] = { 0 };

	w->column.n = 0;
	if (!reserve(w, &w->column, w->index.n))
		return;
	put_bytes(&w->column, w->index.bytes, w->index.n);
	put_total(w, "accesses", w->accesses);
	put_total(w, "reads", w->reads);
	put_total(w, "writes", w->writes);
	put_total(w, "fetches", w->fetches);
	put_total(w, "records", w->records);
	put_total(w, "events", w->events);
	put_total(w, "tasks", w->tasks);
	put_total(w, "time", w->now);
	for (guint i = 0; i < w->totals->len; i++) {
		const struct total *t = &g_array_index(w->totals, struct total, i);

		put_total(w, t->name, t->value);
	}
	s.records = 8 + w->totals->len;
	if (w->error || !begin_section(w) || !store_column(w, &s, PGT_ITEMS, w->column.bytes, w->column.n) ||
	    !end_section(w, &s))
		return;
	pgt_put32(footer, PGT_FOOTER_MAGIC);
	pgt_put32(footer + 4, w->frames);
	pgt_put64(footer + 8, index_offset);
	pgt_put64(footer + 16, w->offset);
	pgt_put32(footer + 28, trace_crc32c(0, footer, 28));
	write_out(w, footer, sizeof(footer));
}

bool ps_trace_writer_finish(struct ps_trace_writer *w, GError **error)
{
	if (!w->finished) {
		w->finished = true;
		close_frame(w);
		if (!w->started && !w->error)
			write_header(w);
		if (!w->error)
			write_index(w);
	}
	return ps_trace_writer_ok(w, error);
}

void ps_trace_writer_free(struct ps_trace_writer *w)
{
	if (!w)
		return;
	for (guint i = 0; i < w->totals->len; i++)
		g_free(g_array_index(w->totals, struct total, i).name);
	g_array_free(w->totals, true);
	ZSTD_freeCCtx(w->zstd);
	g_clear_error(&w->error);
	g_free(w->name);
	g_free(w->source);
	g_free(w->command);
	g_free(w->created_by);
	g_free(w->note);
	ps_free(w->vpn);
	ps_free(w->meta);
	ps_free(w->distinct);
	ps_free(w->order);
	ps_free(w->rank);
	ps_free(w->id);
	ps_free(w->sort_vpn);
	ps_free(w->sort_order);
	ps_free(w->shapes);
	ps_free(w->slot_vpn);
	ps_free(w->slot_id);
	ps_free(w->items.bytes);
	ps_free(w->column.bytes);
	ps_free(w->stored.bytes);
	ps_free(w->index.bytes);
	ps_free(w);
}
