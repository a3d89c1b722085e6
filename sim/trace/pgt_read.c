/* SPDX-License-Identifier: MIT */
/*
 * The reader of `.pgt`. A frame is read whole, its checksum proved, decompressed, its columns located; then batches are
 * decoded one by one into the reader's two arrays, which stay in the first-level cache. Nothing of a frame is handed out
 * before all of it is known to be intact, so what came out is true even when the file is damaged further on.
 *
 * No length, count or rank of the file is believed before it is checked against what is really there; a checksum proves
 * that the bytes are the writer's, not that the writer meant well.
 *
 * The decoding loops are what replay waits for: one load, one shift and one table look-up a record, no branch.
 */
#include "trace/crc32c.h"
#include "trace/pgt.h"
#include "trace/reader.h"

#include <pagesim/alloc.h>

#include <unistd.h>
#include <zstd.h>

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("O3") /* the column loops are worth vectorizing even in a debug build */
#endif

#define RANKS PGT_FRAME_RECORDS /* a rank is below this whatever the file says */

struct pgt {
	ZSTD_DCtx *zstd;
	u32 version;
	u8 *stored, *raw; /* a section's columns, and those that were compressed */
	size_t stored_room, raw_room;
	const u8 *column[PGT_COLUMNS]; /* in stored or raw */
	u64 *page;                     /* [RANKS] page of each rank; stale beyond section.distinct */
	u32 shape[256];                /* meta word of each code; 0 where there is none */

	/* the frame being read; in_frame is false between frames */
	bool in_frame;
	struct pgt_section section;
	u64 frame_offset;
	const u8 *item, *items_end;
	const u8 *over, *over_end;
	u32 record; /* next of the frame */
	u32 events; /* seen in the frame */
	u64 time;   /* end of the last item */

	u64 first_frame; /* offset behind the header */
	u32 next_frame;  /* number the next section must have */
	bool from_start; /* every frame so far was read: sums can be compared with the index */
	u64 sum_records, sum_accesses, sum_events;
	bool index_known;
	char *name; /* of the event handed out */
	size_t name_room;
};

static bool damaged(struct ps_trace_reader *r, u64 offset, GError **error, const char *format, ...) G_GNUC_PRINTF(4, 5);

static bool damaged(struct ps_trace_reader *r, u64 offset, GError **error, const char *format, ...)
{
	va_list args;
	char *message;

	if (r->no_memory)
		return reader_no_memory(r, error);
	va_start(args, format);
	message = g_strdup_vprintf(format, args);
	va_end(args);
	g_set_error(error, PS_TRACE_ERROR, PS_TRACE_ERROR_DAMAGED, "%s: damaged at byte %" G_GUINT64_FORMAT ": %s",
		    r->name, offset, message);
	g_free(message);
	return false;
}

/* Reads exactly @n bytes of @what. */
static bool take(struct ps_trace_reader *r, void *to, size_t n, const char *what, GError **error)
{
	ssize_t k = input_read(&r->in, to, n, error);

	if (k < 0)
		return false;
	if ((size_t)k == n)
		return true;
	g_set_error(error, PS_TRACE_ERROR, PS_TRACE_ERROR_TRUNCATED,
		    "%s: ends early at byte %" G_GUINT64_FORMAT
		    ": expected %s (%zu more bytes), found the end of the file",
		    r->name, r->in.offset, what, n - (size_t)k);
	return false;
}

static bool grow(struct ps_trace_reader *r, u8 **bytes, size_t *room, size_t n, GError **error)
{
	u8 *p;

	if (n <= *room)
		return true;
	p = ps_realloc(*bytes, n);
	if (!p) {
		g_set_error(error, PS_TRACE_ERROR, PS_TRACE_ERROR_MEMORY, "%s: out of memory", r->name);
		return false;
	}
	*bytes = p;
	*room = n;
	return true;
}

/* ---- header ---- */

static char *take_string(struct ps_trace_reader *r, const u8 **at, const u8 *end)
{
	char *s;
	u32 n;

	if (end - *at < 4)
		return NULL;
	n = pgt_get32(*at);
	*at += 4;
	if (n > (size_t)(end - *at) || memchr(*at, 0, n) || !g_utf8_validate((const char *)*at, n, NULL))
		return NULL;
	s = reader_string(r, (const char *)*at, n);
	*at += n;
	return s;
}

static bool read_header(struct ps_trace_reader *r, struct pgt *f, GError **error)
{
	u8 fixed[PGT_HEADER_FIXED];
	u8 *bytes = NULL;
	const u8 *at, *end;
	u32 n, version, clock, page_size;
	bool ok = false;

	if (!take(r, fixed, PGT_MAGIC_BYTES + 2, "the header", error))
		return false;
	version = fixed[8] | (u32)fixed[9] << 8;
	if (version > PS_PGT_VERSION) {
		g_set_error(error, PS_TRACE_ERROR, PS_TRACE_ERROR_VERSION,
			    "%s: written by a newer pagesim: expected format version %u or older, found %u", r->name,
			    PS_PGT_VERSION, version);
		return false;
	}
	if (!version)
		return damaged(r, 8, error, "expected a format version, found 0");
	if (!take(r, fixed + 10, PGT_HEADER_FIXED - 10, "the header", error))
		return false;
	n = pgt_get32(fixed + 12);
	if (n < PGT_HEADER_FIXED + 4 * 4 + 4 || n > PGT_HEADER_MAX)
		return damaged(r, 12, error, "a header of %u bytes is not possible", n);
	bytes = ps_alloc(n);
	if (!bytes) {
		g_set_error(error, PS_TRACE_ERROR, PS_TRACE_ERROR_MEMORY, "%s: out of memory", r->name);
		return false;
	}
	memcpy(bytes, fixed, PGT_HEADER_FIXED);
	if (!take(r, bytes + PGT_HEADER_FIXED, n - PGT_HEADER_FIXED, "the rest of the header", error))
		goto out_free;
	if (trace_crc32c(0, bytes, n - 4) != pgt_get32(bytes + n - 4)) {
		damaged(r, 0, error, "the header's checksum is wrong");
		goto out_free;
	}
	clock = bytes[10] | (u32)bytes[11] << 8;
	page_size = pgt_get32(bytes + 16);
	if (clock > PS_CLOCK_ACCESSES || page_size != PS_TRACE_PAGE_SIZE) {
		damaged(r, 10, error, "clock %u with pages of %u bytes is not possible", clock, page_size);
		goto out_free;
	}
	f->version = version;
	r->info.clock = (enum ps_trace_clock)clock;
	r->info.fold = pgt_get32(bytes + 20);
	at = bytes + PGT_HEADER_FIXED;
	end = bytes + n - 4;
	r->source = take_string(r, &at, end);
	r->command = take_string(r, &at, end);
	r->created_by = take_string(r, &at, end);
	r->note = take_string(r, &at, end);
	ok = r->source && r->command && r->created_by && r->note && at == end;
	if (!ok)
		damaged(r, PGT_HEADER_FIXED, error, "the header's strings do not fit it");
	reader_set_info(r);
	f->first_frame = r->in.offset;
out_free:
	ps_free(bytes);
	return ok;
}

/* ---- sections ---- */

static bool check_section(struct ps_trace_reader *r, struct pgt_section *s, const u8 *bytes, u64 offset, GError **error)
{
	if (trace_crc32c(0, bytes, PGT_SECTION_BYTES - 4) != pgt_get32(bytes + PGT_SECTION_BYTES - 4))
		return damaged(r, offset, error, "expected a frame or the index, found a head with a wrong checksum");
	pgt_section_decode(s, bytes);
	if (s->magic != PGT_FRAME_MAGIC && s->magic != PGT_INDEX_MAGIC)
		return damaged(r, offset, error, "expected a frame or the index, found %08x", s->magic);
	for (int c = 0; c < PGT_COLUMNS; c++)
		if (s->raw[c] > PGT_COLUMN_MAX || s->stored[c] > s->raw[c] || (!s->stored[c]) != (!s->raw[c]))
			return damaged(r, offset, error, "a column of %u bytes stored in %u is not possible", s->raw[c],
				       s->stored[c]);
	if (s->magic == PGT_INDEX_MAGIC)
		return true;
	if (s->records > PGT_FRAME_RECORDS || s->distinct > s->records || s->shapes > s->records ||
	    s->shapes > PGT_SHAPES || (s->records && (!s->distinct || !s->shapes)))
		return damaged(r, offset, error, "%u records of %u pages in %u shapes are not possible", s->records,
			       s->distinct, s->shapes);
	return true;
}

/* Finds the columns in f->stored, decompressing into f->raw what was compressed. */
static bool unpack(struct ps_trace_reader *r, struct pgt *f, const struct pgt_section *s, size_t stored, u64 offset,
		   GError **error)
{
	const u8 *from = f->stored;
	size_t raw = 1;
	u8 *to;

	if (trace_crc32c(0, f->stored, stored) != s->crc)
		return damaged(r, offset, error, "the checksum of the columns is wrong");
	for (int c = 0; c < PGT_COLUMNS; c++)
		raw += s->stored[c] < s->raw[c] ? s->raw[c] : 0;
	if (!grow(r, &f->raw, &f->raw_room, raw, error))
		return false;
	to = f->raw;
	for (int c = 0; c < PGT_COLUMNS; c++) {
		size_t n;

		f->column[c] = from;
		if (s->stored[c] < s->raw[c]) {
			f->column[c] = to;
			n = ZSTD_decompressDCtx(f->zstd, to, s->raw[c], from, s->stored[c]);
			if (ZSTD_isError(n))
				return damaged(r, offset, error, "cannot decompress a column: %s",
					       ZSTD_getErrorName(n));
			if (n != s->raw[c])
				return damaged(r, offset, error, "expected %u bytes in a column, found %zu", s->raw[c],
					       n);
			to += n;
		}
		from += s->stored[c];
	}
	return true;
}

static bool read_pages(struct pgt *f, const u8 *at, const u8 *end, u32 distinct)
{
	u64 page = 0, step, *to = f->page;
	u32 stands = 0; /* steps of 0 */

	for (u32 i = 0; i < distinct; i++) {
		/* Neighbours are near in most traces: one byte. */
		if (likely(at < end && *at < 128))
			step = *at++;
		else if (!pgt_get_varint(&at, end, &step) || step >= PS_TRACE_VPN_END ||
			 page + step >= PS_TRACE_VPN_END)
			return false;
		stands += !step;
		page += step;
		to[i] = page;
	}
	/* Page 0 is one step of nothing, in the first place. */
	return at == end && page < PS_TRACE_VPN_END && stands <= (distinct && !to[0]);
}

static bool read_shapes(struct pgt *f, const u8 *at, const u8 *end, u32 shapes)
{
	u64 meta;

	memset(f->shape, 0, sizeof(f->shape));
	for (u32 i = 0; i < shapes; i++) {
		if (!pgt_get_varint(&at, end, &meta) || meta > 0xffffffffu || !pgt_meta_valid((u32)meta))
			return false;
		f->shape[i] = (u32)meta;
	}
	return at == end;
}

static bool begin_frame(struct ps_trace_reader *r, struct pgt *f, u64 offset, GError **error)
{
	const struct pgt_section *s = &f->section;
	const u8 *const *c = f->column;

	if (!read_pages(f, c[PGT_PAGES], c[PGT_PAGES] + s->raw[PGT_PAGES], s->distinct))
		return damaged(r, offset, error, "the list of pages is not ascending or does not fit");
	if (!read_shapes(f, c[PGT_SHAPE_LIST], c[PGT_SHAPE_LIST] + s->raw[PGT_SHAPE_LIST], s->shapes))
		return damaged(r, offset, error, "the list of shapes makes no sense");
	f->item = c[PGT_ITEMS];
	f->items_end = f->item + s->raw[PGT_ITEMS];
	f->over = c[PGT_OVERFLOW];
	f->over_end = f->over + s->raw[PGT_OVERFLOW];
	f->record = f->events = 0;
	f->time = s->time;
	f->frame_offset = offset;
	f->in_frame = true;
	return true;
}

static void add_frame(struct ps_trace_reader *r, struct pgt *f)
{
	const struct pgt_section *s = &f->section;
	struct ps_trace_frame frame = {
		.offset = f->frame_offset,
		.time = s->time,
		.records = s->records,
		.accesses = s->accesses,
		.events = s->events,
		.bytes = PGT_SECTION_BYTES,
	};

	for (int c = 0; c < PGT_COLUMNS; c++) {
		frame.bytes += s->stored[c];
		frame.raw_bytes += s->raw[c];
	}
	f->sum_records += s->records;
	f->sum_accesses += s->accesses;
	f->sum_events += s->events;
	if (!f->index_known && f->from_start && !ps_grow_add(&r->frames, &frame, sizeof(frame)))
		r->no_memory = true;
}

/* ---- index and footer ---- */

static bool parse_index(struct ps_trace_reader *r, const u8 *at, const u8 *end, const struct pgt_section *s,
			u64 first_frame, u64 index_offset, struct ps_grow *frames)
{
	u64 offset = first_frame, time = 0;

	for (u32 i = 0; i < s->number; i++) {
		struct ps_trace_frame frame = { .offset = offset };
		u64 step;

		if (!pgt_get_varint(&at, end, &frame.bytes) || !pgt_get_varint(&at, end, &frame.raw_bytes) ||
		    !pgt_get_varint(&at, end, &frame.records) || !pgt_get_varint(&at, end, &frame.events) ||
		    !pgt_get_varint(&at, end, &frame.accesses) || !pgt_get_varint(&at, end, &step))
			return false;
		if (frame.bytes > PGT_COLUMNS * (u64)PGT_COLUMN_MAX + PGT_SECTION_BYTES ||
		    __builtin_add_overflow(time, step, &time))
			return false;
		frame.time = time;
		offset += frame.bytes;
		if (!ps_grow_add(frames, &frame, sizeof(frame))) {
			r->no_memory = true;
			return false;
		}
	}
	if (offset != index_offset)
		return false;
	for (u32 i = 0; i < s->records; i++) {
		u64 n, value;
		const u8 *name;

		if (!pgt_get_varint(&at, end, &n) || n > (size_t)(end - at) || memchr(at, 0, n) ||
		    !g_utf8_validate((const char *)at, n, NULL))
			return false;
		name = at;
		at += n;
		if (!pgt_get_varint(&at, end, &value))
			return false;
		reader_add_total(r, (const char *)name, n, value);
	}
	return at == end;
}

/* The unpacked index becomes r->frames and r->totals. */
static bool use_index(struct ps_trace_reader *r, struct pgt *f, const struct pgt_section *s, u64 offset, GError **error)
{
	struct ps_grow frames = { 0 };

	reader_forget_totals(r);
	if (!parse_index(r, f->column[PGT_ITEMS], f->column[PGT_ITEMS] + s->raw[PGT_ITEMS], s, f->first_frame, offset,
			 &frames) ||
	    r->no_memory) {
		reader_forget_totals(r);
		ps_grow_free(&frames);
		return damaged(r, offset, error, "the index does not fit the file");
	}
	ps_grow_free(&r->frames);
	r->frames = frames;
	r->totals_known = true;
	f->index_known = true;
	return true;
}

static bool check_footer(struct ps_trace_reader *r, const u8 *bytes, u64 footer_offset, u64 *ret_index, u32 *ret_frames,
			 GError **error)
{
	if (trace_crc32c(0, bytes, 28) != pgt_get32(bytes + 28) || pgt_get32(bytes) != PGT_FOOTER_MAGIC ||
	    pgt_get32(bytes + 24))
		return damaged(r, footer_offset, error, "expected the footer, found something else");
	if (pgt_get64(bytes + 16) != footer_offset)
		return damaged(r, footer_offset, error, "the footer belongs at byte %" G_GUINT64_FORMAT,
			       pgt_get64(bytes + 16));
	*ret_index = pgt_get64(bytes + 8);
	*ret_frames = pgt_get32(bytes + 4);
	return true;
}

/* Sequential reading has come to the index: check it against what was read, then the footer and the end of the file. */
static bool read_end(struct ps_trace_reader *r, struct pgt *f, const struct pgt_section *s, u64 offset, GError **error)
{
	u8 footer[PGT_FOOTER_BYTES];
	u64 footer_offset, index = 0;
	const u8 *more;
	ssize_t left;
	u32 frames = 0;

	if (s->number != f->next_frame)
		return damaged(r, offset, error, "the index is of %u frames, but %u came before it", s->number,
			       f->next_frame);
	if (!use_index(r, f, s, offset, error))
		return false;
	if (f->from_start && (f->sum_records != ps_trace_reader_total(r, "records", ~0ull) ||
			      f->sum_accesses != ps_trace_reader_total(r, "accesses", ~0ull) ||
			      f->sum_events != ps_trace_reader_total(r, "events", ~0ull)))
		return damaged(r, offset, error, "the totals of the index are not those of the frames");
	footer_offset = r->in.offset;
	if (!take(r, footer, sizeof(footer), "the footer", error) ||
	    !check_footer(r, footer, footer_offset, &index, &frames, error))
		return false;
	if (index != offset || frames != s->number)
		return damaged(r, footer_offset, error, "the footer points elsewhere");
	left = input_peek(&r->in, 1, &more, error);
	if (left < 0)
		return false;
	if (left)
		return damaged(r, r->in.offset, error, "expected the end of the file, found more bytes");
	return true;
}

static size_t stored_bytes(const struct pgt_section *s)
{
	size_t n = 0;

	for (int c = 0; c < PGT_COLUMNS; c++)
		n += s->stored[c];
	return n;
}

/* Reads the next section. Return: BATCH when a frame is ready, END after a good index and footer. */
static enum ps_trace_next next_section(struct ps_trace_reader *r, struct pgt *f, GError **error)
{
	u64 offset = r->in.offset;
	u8 head[PGT_SECTION_BYTES];
	struct pgt_section s;
	size_t stored;

	if (!take(r, head, sizeof(head), "a frame or the index", error) || !check_section(r, &s, head, offset, error))
		return PS_TRACE_FAILED;
	stored = stored_bytes(&s);
	if (!grow(r, &f->stored, &f->stored_room, MAX(stored, 1), error) ||
	    !take(r, f->stored, stored, "the rest of a frame", error) || !unpack(r, f, &s, stored, offset, error))
		return PS_TRACE_FAILED;
	if (s.magic == PGT_INDEX_MAGIC)
		return read_end(r, f, &s, offset, error) ? PS_TRACE_END : PS_TRACE_FAILED;
	if (s.number != f->next_frame) {
		damaged(r, offset, error, "expected frame %u, found frame %u", f->next_frame, s.number);
		return PS_TRACE_FAILED;
	}
	f->next_frame++;
	f->section = s;
	if (!begin_frame(r, f, offset, error))
		return PS_TRACE_FAILED;
	add_frame(r, f);
	if (r->no_memory) {
		reader_no_memory(r, error);
		return PS_TRACE_FAILED;
	}
	return PS_TRACE_BATCH;
}

/* ---- batches ---- */

/*
 * The two tables of a frame, looked up for n records. What is beyond a table's end reads something stale or zero, never
 * beyond its memory; whether anything is, is asked separately, so that these loops stay as simple as they are.
 */
static void decode_pages1(u64 *restrict vpn, const u8 *restrict low, u32 n, const u64 *restrict page)
{
	for (u32 i = 0; i < n; i++)
		vpn[i] = page[low[i]];
}

static void decode_pages2(u64 *restrict vpn, const u8 *restrict low, const u8 *restrict high, u32 n,
			  const u64 *restrict page)
{
	for (u32 i = 0; i < n; i++)
		vpn[i] = page[low[i] | (u32)high[i] << 8];
}

static void decode_metas(u32 *restrict meta, const u8 *restrict code, u32 n, const u32 *restrict shape)
{
	for (u32 i = 0; i < n; i++)
		meta[i] = shape[code[i]];
}

static u32 largest1(const u8 *low, u32 n)
{
	u8 largest = 0;

	for (u32 i = 0; i < n; i++)
		largest = low[i] > largest ? low[i] : largest;
	return largest;
}

static u32 largest2(const u8 *low, const u8 *high, u32 n)
{
	u16 largest = 0;

	for (u32 i = 0; i < n; i++) {
		u16 k = (u16)(low[i] | (u16)high[i] << 8);

		largest = k > largest ? k : largest;
	}
	return largest;
}

/* Records whose code is no shape's: the next of the overflow, or an error. */
static bool decode_escapes(struct pgt *f, u32 *meta, const u8 *code, u32 n)
{
	for (u32 i = 0; i < n; i++) {
		u64 m;

		if (code[i] < f->section.shapes)
			continue;
		if (code[i] != PGT_ESCAPE || !pgt_get_varint(&f->over, f->over_end, &m) || m > 0xffffffffu ||
		    !pgt_meta_valid((u32)m))
			return false;
		meta[i] = (u32)m;
	}
	return true;
}

static bool decode_batch(struct ps_trace_reader *r, struct pgt *f, u32 n, GError **error)
{
	const u8 *low = f->column[PGT_LOW] + f->record, *code = f->column[PGT_CODES] + f->record;
	u32 distinct = f->section.distinct;

	if (distinct > 256) {
		const u8 *high = f->column[PGT_HIGH] + f->record;

		if (unlikely(largest2(low, high, n) >= distinct))
			goto out_rank;
		decode_pages2(r->vpn, low, high, n, f->page);
	} else {
		if (unlikely(largest1(low, n) >= distinct))
			goto out_rank;
		decode_pages1(r->vpn, low, n, f->page);
	}
	decode_metas(r->meta, code, n, f->shape);
	if (unlikely(largest1(code, n) >= f->section.shapes) && !decode_escapes(f, r->meta, code, n))
		return damaged(r, f->frame_offset, error, "a record of the frame has a shape that is not in its list");
	f->record += n;
	return true;
out_rank:
	return damaged(r, f->frame_offset, error, "a record of the frame is of a page that is not in its list");
}

static bool get32(const u8 **at, const u8 *end, u32 *ret)
{
	u64 v;

	if (!pgt_get_varint(at, end, &v) || v > 0xffffffffu)
		return false;
	*ret = (u32)v;
	return true;
}

static bool get_name(struct ps_trace_reader *r, struct pgt *f, const u8 **at, const u8 *end)
{
	u8 **room = (u8 **)&f->name;
	GError *error = NULL;
	u64 n;

	if (!pgt_get_varint(at, end, &n) || n > PGT_NAME_MAX || n > (size_t)(end - *at) || memchr(*at, 0, n))
		return false;
	if (!grow(r, room, &f->name_room, n + 1, &error)) {
		g_error_free(error);
		r->no_memory = true;
		return false;
	}
	memcpy(f->name, *at, n);
	f->name[n] = 0;
	r->event.name = f->name;
	*at += n;
	return true;
}

static bool get_event(struct ps_trace_reader *r, struct pgt *f, u32 kind, u32 task)
{
	const u8 **at = &f->item, *end = f->items_end;
	struct ps_event *e = &r->event;
	unsigned int fields;
	u32 other, advice;

	if (kind >= PS_EVENT_KINDS)
		return false;
	memset(e, 0, sizeof(*e));
	e->kind = (enum ps_event_kind)kind;
	e->task = task;
	e->time = f->time;
	e->name = "";
	fields = ps_event_fields(e->kind);
	if (fields & PS_FIELD_OTHER) {
		if (!get32(at, end, &other) || other > PS_TASK_MAX)
			return false;
		e->other = other - 1;
	}
	if ((fields & PS_FIELD_IDS) && (!get32(at, end, &e->pid) || !get32(at, end, &e->tid)))
		return false;
	if ((fields & PS_FIELD_RANGE) && (!pgt_get_varint(at, end, &e->vpn) || !pgt_get_varint(at, end, &e->pages)))
		return false;
	if ((fields & PS_FIELD_TO) && (!pgt_get_varint(at, end, &e->to_vpn) || !pgt_get_varint(at, end, &e->to_pages)))
		return false;
	if ((fields & PS_FIELD_PROT) && !get32(at, end, &e->prot))
		return false;
	if ((fields & PS_FIELD_FLAGS) && !get32(at, end, &e->flags))
		return false;
	if (fields & PS_FIELD_ADVICE) {
		if (!get32(at, end, &advice))
			return false;
		e->advice = (int)advice;
	}
	if ((fields & PS_FIELD_OFFSET) && !pgt_get_varint(at, end, &e->offset))
		return false;
	if ((fields & PS_FIELD_LENGTH) && !pgt_get_varint(at, end, &e->length))
		return false;
	if ((fields & PS_FIELD_LINE) && !get32(at, end, &e->line))
		return false;
	if ((fields & PS_FIELD_NAME) && !get_name(r, f, at, end))
		return false;
	return e->vpn <= PS_TRACE_VPN_END && e->pages <= PS_TRACE_VPN_END - e->vpn && e->to_vpn <= PS_TRACE_VPN_END &&
	       e->to_pages <= PS_TRACE_VPN_END - e->to_vpn;
}

/* All items of the frame are out: was everything in it used? */
static bool end_frame(struct ps_trace_reader *r, struct pgt *f, GError **error)
{
	const struct pgt_section *s = &f->section;

	f->in_frame = false;
	if (f->record != s->records || f->events != s->events || f->over != f->over_end)
		return damaged(r, f->frame_offset, error, "the frame holds something else than its head says");
	return true;
}

static enum ps_trace_next pgt_next(struct ps_trace_reader *r, struct ps_trace_batch *batch, GError **error)
{
	struct pgt *f = r->own;
	u64 step, n, span;
	u32 what, task;

	while (!f->in_frame || f->item == f->items_end) {
		enum ps_trace_next next;

		if (f->in_frame && !end_frame(r, f, error))
			return PS_TRACE_FAILED;
		next = next_section(r, f, error);
		if (next != PS_TRACE_BATCH)
			return next;
	}
	if (!get32(&f->item, f->items_end, &what) || !get32(&f->item, f->items_end, &task) || task >= PS_TASK_MAX ||
	    !pgt_get_varint(&f->item, f->items_end, &step) || __builtin_add_overflow(f->time, step, &f->time))
		goto bad_item;
	memset(batch, 0, sizeof(*batch));
	batch->task = task;
	batch->time = f->time;
	if (what) {
		if (!get_event(r, f, what - 1, task))
			goto bad_item;
		f->events++;
		batch->event = &r->event;
		return PS_TRACE_BATCH;
	}
	if (!pgt_get_varint(&f->item, f->items_end, &n) || !pgt_get_varint(&f->item, f->items_end, &span) || !n ||
	    n > PS_TRACE_BATCH_MAX || n > f->section.records - f->record ||
	    __builtin_add_overflow(f->time, span, &f->time))
		goto bad_item;
	if (!decode_batch(r, f, (u32)n, error))
		return PS_TRACE_FAILED;
	batch->span = span;
	batch->n = (u32)n;
	batch->vpn = r->vpn;
	batch->meta = r->meta;
	return PS_TRACE_BATCH;
bad_item:
	damaged(r, f->frame_offset, error, "an item of the frame makes no sense");
	return PS_TRACE_FAILED;
}

/* ---- index and seeking ---- */

static bool pread_all(struct ps_trace_reader *r, void *to, size_t n, u64 offset, GError **error)
{
	u8 *p = to;

	while (n) {
		ssize_t k = pread(r->in.fd, p, n, (off_t)offset);

		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0) {
			g_set_error(error, PS_TRACE_ERROR, PS_TRACE_ERROR_IO, "%s: cannot read: %s", r->name,
				    g_strerror(errno));
			return false;
		}
		if (!k) {
			g_set_error(error, PS_TRACE_ERROR, PS_TRACE_ERROR_TRUNCATED,
				    "%s: ends early at byte %" G_GUINT64_FORMAT ": expected the index", r->name,
				    offset);
			return false;
		}
		p += k;
		n -= k;
		offset += k;
	}
	return true;
}

static bool pgt_load_index(struct ps_trace_reader *r, GError **error)
{
	struct pgt *f = r->own;
	u8 footer[PGT_FOOTER_BYTES], head[PGT_SECTION_BYTES];
	struct pgt helper;
	struct pgt_section s;
	size_t stored;
	off_t size;
	u64 index = 0;
	u32 frames = 0;
	bool ok = false;

	if (f->index_known)
		return true;
	size = lseek(r->in.fd, 0, SEEK_CUR) < 0 ? -1 : lseek(r->in.fd, 0, SEEK_END);
	if (size < 0 || lseek(r->in.fd, (off_t)(r->in.offset + r->in.n - r->in.at), SEEK_SET) < 0) {
		g_set_error(error, PS_TRACE_ERROR, PS_TRACE_ERROR_IO, "%s: cannot seek to the index: %s", r->name,
			    g_strerror(errno));
		return false;
	}
	if (size < PGT_FOOTER_BYTES + PGT_SECTION_BYTES) {
		g_set_error(error, PS_TRACE_ERROR, PS_TRACE_ERROR_TRUNCATED,
			    "%s: ends early at byte %" G_GINT64_FORMAT ": expected an index and a footer", r->name,
			    (s64)size);
		return false;
	}
	if (!pread_all(r, footer, sizeof(footer), (u64)size - PGT_FOOTER_BYTES, error) ||
	    !check_footer(r, footer, (u64)size - PGT_FOOTER_BYTES, &index, &frames, error))
		return false;
	if (index > (u64)size - PGT_FOOTER_BYTES - PGT_SECTION_BYTES)
		return damaged(r, (u64)size - PGT_FOOTER_BYTES, error, "the footer points elsewhere");
	if (!pread_all(r, head, sizeof(head), index, error) || !check_section(r, &s, head, index, error))
		return false;
	if (s.magic != PGT_INDEX_MAGIC || s.number != frames ||
	    index + PGT_SECTION_BYTES + stored_bytes(&s) + PGT_FOOTER_BYTES != (u64)size)
		return damaged(r, index, error, "expected the index");
	/* The frame being read stays: the index is unpacked by a helper of its own. */
	helper = *f;
	helper.raw = helper.stored = NULL;
	helper.raw_room = helper.stored_room = 0;
	stored = stored_bytes(&s);
	ok = grow(r, &helper.stored, &helper.stored_room, MAX(stored, 1), error) &&
	     pread_all(r, helper.stored, stored, index + PGT_SECTION_BYTES, error) &&
	     unpack(r, &helper, &s, stored, index, error) && use_index(r, &helper, &s, index, error);
	f->index_known = helper.index_known;
	ps_free(helper.raw);
	ps_free(helper.stored);
	return ok;
}

static bool pgt_seek(struct ps_trace_reader *r, size_t index, GError **error)
{
	struct pgt *f = r->own;
	u64 offset;

	if (!f->index_known || index >= r->frames.n) {
		g_set_error(error, PS_TRACE_ERROR, PS_TRACE_ERROR_ARGUMENT, "%s: no frame %zu: the index has %zu",
			    r->name, index, f->index_known ? r->frames.n : (size_t)0);
		return false;
	}
	offset = ((const struct ps_trace_frame *)r->frames.data)[index].offset;
	if (lseek(r->in.fd, (off_t)offset, SEEK_SET) < 0) {
		g_set_error(error, PS_TRACE_ERROR, PS_TRACE_ERROR_IO, "%s: cannot seek: %s", r->name,
			    g_strerror(errno));
		return false;
	}
	r->in.offset = offset;
	r->in.at = r->in.n = 0;
	r->in.ended = false;
	f->in_frame = false;
	f->next_frame = (u32)index;
	f->from_start = index == 0;
	f->sum_records = f->sum_accesses = f->sum_events = 0;
	return true;
}

static void pgt_free(struct ps_trace_reader *r)
{
	struct pgt *f = r->own;

	if (!f)
		return;
	ZSTD_freeDCtx(f->zstd);
	ps_free(f->stored);
	ps_free(f->raw);
	ps_free(f->page);
	ps_free(f->name);
	ps_free(f);
}

static const struct reader_ops pgt_ops = {
	.next = pgt_next,
	.load_index = pgt_load_index,
	.seek = pgt_seek,
	.free = pgt_free,
};

bool pgt_open(struct ps_trace_reader *r, GError **error)
{
	struct pgt *f = ps_zalloc(sizeof(*f));

	r->ops = &pgt_ops;
	r->own = f;
	if (f) {
		f->from_start = true;
		f->page = ps_calloc(RANKS, sizeof(*f->page));
		f->zstd = ZSTD_createDCtx();
	}
	if (!f || !f->page || !f->zstd) {
		g_set_error(error, PS_TRACE_ERROR, PS_TRACE_ERROR_MEMORY, "%s: out of memory", r->name);
		return false;
	}
	return read_header(r, f, error);
}
