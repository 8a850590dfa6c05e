/* A host that behaves as Fluent Bit does to a plugin, as far as the plugin can tell: what it exports, what it hands over and on which stack.
 *
 *   host [--malloc-of-8] [--coroutine] [--threads N | --stream] [--reload EVERY] [--pause MILLISECONDS] [--output] PLUGIN [KEY=VALUE ...] < frames > answers
 *
 * A frame is a chunk behind its length (32 bits, big endian). The answer to each is a letter and a chunk: `m` with what the filter made of it,
 * `n` with the chunk as it was; of the output `e`, `o` or `r` and an empty chunk. With --threads each of N instances, on a thread of its own and all at once, gets all frames; the
 * answers of the first are written. All frames are read before the first is handled; with --stream each is answered before the next is read. --pause waits before each frame but the first. --reload stops, unloads, loads and starts the plugin again after each EVERY frames, as a hot reload does.
 * --malloc-of-8 gives memory as the jemalloc of Fluent Bit does, see below.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <malloc.h>
#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <ucontext.h>
#include <unistd.h>

/* Memory of jemalloc's sizes 24, 40 and 56, which it has with `--with-lg-quantum=3`: aligned to 8 and, here without exception, to no more. All other memory is
 * the C library's, whose addresses end in 0. */
extern void *__libc_malloc(size_t), *__libc_realloc(void *, size_t), __libc_free(void *);
static int is_malloc_of_8;
enum { SHIFT = 8 };

static int is_shifted(const void *memory) { return ((uintptr_t)memory & 15) == SHIFT; }

static int is_odd_size(size_t size) { return size > 16 && size <= 56 && (size + 7) / 8 % 2 == 1; }

void *malloc(size_t size)
{
    if (!is_malloc_of_8 || !is_odd_size(size)) return __libc_malloc(size);
    char *memory = __libc_malloc(size + SHIFT);
    return memory ? memory + SHIFT : NULL;
}

void free(void *memory) { __libc_free(is_shifted(memory) ? (char *)memory - SHIFT : memory); }

void *calloc(size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) return NULL;
    void *memory = malloc(bytes);
    return memory ? memset(memory, 0, bytes) : NULL;
}

void *realloc(void *memory, size_t size)
{
    if (!memory) return malloc(size);
    if (!is_shifted(memory) && !(is_malloc_of_8 && is_odd_size(size))) return __libc_realloc(memory, size);
    size_t had = is_shifted(memory) ? malloc_usable_size((char *)memory - SHIFT) - SHIFT : malloc_usable_size(memory);
    void *moved = malloc(size);
    if (!moved) return NULL;
    memcpy(moved, memory, had < size ? had : size);
    free(memory);
    return moved;
}

static void use_malloc_of_8(void)
{
    is_malloc_of_8 = 1;
    void *volatile memory = malloc(56);
    if (!is_shifted(memory)) { fprintf(stderr, "memory is aligned to more than 8\n"); abort(); }
    free(memory);
}

struct list { struct list *prev, *next; };
struct kv { char *key, *val; struct list head; };

struct filter_plugin {
    int event_type, flags;
    char *name, *description;
    void *config_map;
    int (*cb_pre_run)(void *, void *, void *);
    int (*cb_init)(void *, void *, void *);
    int (*cb_filter)(const void *, size_t, const char *, int, void **, size_t *, void *, void *, void *, void *);
    int (*cb_exit)(void *, void *);
    int (*cb_notification)(void *, void *, void *);
    struct list head;
};

/* As struct flb_filter_instance of 5.1.1 begins. */
struct instance {
    int event_type, id, log_level, log_suppress_interval;
    char name[32];
    char *alias, *match;
    void *match_regex, *parent_processor, *context, *data, *p;
    struct list properties;
    void *config_map;
    char more[256];
};

struct proxy_def { int type, proxy, flags; char *name, *description; int event_type; void *config_map; };
struct proxy_context { void *remote_context; void *proxy; };
struct api {
    const char *(*output_get_property)(const char *, struct instance *);
    void *input_get_property, *output_get_cmt_instance, *input_get_cmt_instance;
    void (*log_print)(int, const char *, int, const char *, ...);
    void *input_log_check, *output_log_check, *custom_get_property, *custom_log_check;
};
struct go_output { char *name; struct api *api; struct instance *o_ins; struct proxy_context *context; void *callbacks[5]; };

const char *flb_filter_get_property(const char *key, struct instance *ins)
{
    for (struct list *at = ins->properties.next; at != &ins->properties; at = at->next) {
        struct kv *kv = (struct kv *)((char *)at - offsetof(struct kv, head));
        if (strcasecmp(kv->key, key) == 0) return kv->val;
    }
    return NULL;
}

void flb_filter_set_context(struct instance *ins, void *context) { ins->context = context; }

void flb_log_print(int type, const char *file, int line, const char *fmt, ...)
{
    va_list args;
    (void)file; (void)line;
    va_start(args, fmt);
    fprintf(stderr, "[%d] ", type);
    vfprintf(stderr, fmt, args);
    fputc('\n', stderr);
    va_end(args);
}

static struct api api = { .output_get_property = flb_filter_get_property, .log_print = flb_log_print };

struct buffer { char *data; size_t len; };
struct frame { struct buffer chunk, answer; char letter; };

static int on_coroutine, reload_every, pause_ms, is_output, is_streaming, threads = 1;
static const char *path;
static char **keys;
static int key_count;
static struct frame *frames;
static size_t frame_count;

struct runner {
    void *library;
    struct filter_plugin filter;
    struct instance ins;
    struct proxy_context proxy;
    int (*flush)(void *, const void *, size_t, char *);
    int (*output_exit)(void *);
    int is_first, failed;
};

static int start(struct runner *r)
{
    r->library = dlopen(path, RTLD_LAZY);
    if (!r->library) { fprintf(stderr, "%s\n", dlerror()); return -1; }
    memset(&r->ins, 0, sizeof r->ins);
    r->ins.properties.prev = r->ins.properties.next = &r->ins.properties;
    for (int i = 0; i < key_count; i++) {
        char *equals = strchr(keys[i], '=');
        struct kv *kv = calloc(1, sizeof *kv);
        kv->key = strndup(keys[i], equals - keys[i]);
        kv->val = strdup(equals + 1);
        kv->head.prev = r->ins.properties.prev;
        kv->head.next = &r->ins.properties;
        r->ins.properties.prev->next = &kv->head;
        r->ins.properties.prev = &kv->head;
    }
    if (is_output) {
        struct proxy_def def = { 0 };
        int (*reg)(struct proxy_def *) = dlsym(r->library, "FLBPluginRegister");
        int (*init)(struct go_output *) = dlsym(r->library, "FLBPluginInit");
        r->flush = dlsym(r->library, "FLBPluginFlushCtx");
        r->output_exit = dlsym(r->library, "FLBPluginExitCtx");
        if (!reg || !init || !r->flush || !r->output_exit || reg(&def) == -1) return -1;
        if (def.type != 2 || def.proxy != 11 || strcmp(def.name, "oddline") || def.event_type || def.config_map) return -1;
        struct go_output plugin = { .name = def.name, .api = &api, .o_ins = &r->ins, .context = &r->proxy };
        int made = init(&plugin);
        free(def.name);
        free(def.description);
        return made > 0 ? 0 : -1;
    }
    void *symbol = dlsym(r->library, "filter_oddline_plugin");
    if (!symbol) return -1;
    memcpy(&r->filter, symbol, sizeof r->filter);
    r->filter.head.next = r->filter.head.prev = &r->filter.head;
    if (strcmp(r->filter.name, "oddline") || r->filter.event_type != 1) return -1;
    r->ins.p = &r->filter;
    return r->filter.cb_init(&r->ins, NULL, NULL);
}

static void stop(struct runner *r)
{
    if (is_output) r->output_exit(r->proxy.remote_context);
    else r->filter.cb_exit(r->ins.context, NULL);
    dlclose(r->library);
}

struct call { struct runner *r; struct buffer chunk; void *out; size_t out_len; int result; };

static void do_call(struct call *c)
{
    if (is_output) {
        char *tag = strdup("tag");
        c->result = c->r->flush(c->r->proxy.remote_context, c->chunk.data, c->chunk.len, tag);
        free(tag);
    } else {
        c->result = c->r->filter.cb_filter(c->chunk.data, c->chunk.len, "tag", 3, &c->out, &c->out_len, &c->r->ins, NULL, c->r->ins.context, NULL);
    }
}

/* What FLB_CORO_STACK_SIZE is by default, the least a plugin can meet. */
#define CORO_STACK 24576
#define GUARD 65536

static __thread struct call *current;
static __thread ucontext_t back;
static void entry(void) { do_call(current); }

static void call_on_coroutine(struct call *c)
{
    static __thread char *memory;
    ucontext_t coroutine;
    if (!memory) memory = malloc(GUARD + CORO_STACK);
    memset(memory, 0x5a, GUARD + CORO_STACK);
    getcontext(&coroutine);
    coroutine.uc_stack.ss_sp = memory + GUARD;
    coroutine.uc_stack.ss_size = CORO_STACK;
    coroutine.uc_link = &back;
    current = c;
    makecontext(&coroutine, entry, 0);
    swapcontext(&back, &coroutine);
    for (size_t i = 0; i < GUARD; i++) {
        if (memory[i] != 0x5a) { fprintf(stderr, "the coroutine's stack was overrun\n"); abort(); }
    }
}

static void handle(struct runner *r, struct frame *frame)
{
    struct call c = { .r = r, .chunk = { malloc(frame->chunk.len + 1), frame->chunk.len } };
    memcpy(c.chunk.data, frame->chunk.data, frame->chunk.len);
    if (on_coroutine) call_on_coroutine(&c); else do_call(&c);
    if (memcmp(c.chunk.data, frame->chunk.data, frame->chunk.len)) { fprintf(stderr, "the chunk was written to\n"); abort(); }
    free(c.chunk.data);
    if (is_output) {
        if (c.result < 0 || c.result > 2) { fprintf(stderr, "answered %d\n", c.result); abort(); }
        if (r->is_first) frame->letter = "eor"[c.result];
    } else if (c.result == 1 && c.out && c.out_len) {
        if (r->is_first) { frame->letter = 'm'; frame->answer = (struct buffer){ c.out, c.out_len }; } else free(c.out);
    } else if (c.result == 2 && !c.out) {
        if (r->is_first) { frame->letter = 'n'; frame->answer = frame->chunk; }
    } else {
        fprintf(stderr, "answered %d with %zu bytes\n", c.result, c.out_len);
        abort();
    }
}

/* What is done before the frame of that number; 0 when it may be handled. */
static int prepare(struct runner *r, size_t number)
{
    if (reload_every && number && number % reload_every == 0) {
        stop(r);
        if (start(r) != 0) return -1;
    }
    if (pause_ms && number) usleep(pause_ms * 1000);
    return 0;
}

static void *run(void *argument)
{
    struct runner *r = argument;
    if (start(r) != 0) { r->failed = 1; return NULL; }
    for (size_t i = 0; i < frame_count; i++) {
        if (prepare(r, i) != 0) { r->failed = 1; return NULL; }
        handle(r, &frames[i]);
    }
    stop(r);
    return NULL;
}

static int read_frame(struct frame *frame)
{
    uint32_t len;
    if (fread(&len, 4, 1, stdin) != 1) return 0;
    *frame = (struct frame){ .letter = '?' };
    frame->chunk.len = ntohl(len);
    frame->chunk.data = malloc(frame->chunk.len + 1);
    if (fread(frame->chunk.data, 1, frame->chunk.len, stdin) != frame->chunk.len) abort();
    return 1;
}

static void read_frames(void)
{
    struct frame frame;
    while (read_frame(&frame)) {
        frames = realloc(frames, (frame_count + 1) * sizeof *frames);
        frames[frame_count++] = frame;
    }
}

static void write_answer(const struct frame *frame)
{
    uint32_t len = htonl(frame->answer.len);
    fputc(frame->letter, stdout);
    fwrite(&len, 4, 1, stdout);
    fwrite(frame->answer.data, 1, frame->answer.len, stdout);
}

static int stream(void)
{
    struct runner r = { .is_first = 1 };
    struct frame frame;
    if (start(&r) != 0) return 1;
    for (size_t i = 0; read_frame(&frame); i++) {
        if (prepare(&r, i) != 0) return 1;
        handle(&r, &frame);
        write_answer(&frame);
        fflush(stdout);
        if (frame.answer.data != frame.chunk.data) free(frame.answer.data);
        free(frame.chunk.data);
    }
    stop(&r);
    return 0;
}

int main(int argc, char **argv)
{
    int at = 1;
    for (; at < argc && strncmp(argv[at], "--", 2) == 0; at++) {
        if (!strcmp(argv[at], "--coroutine")) on_coroutine = 1;
        else if (!strcmp(argv[at], "--malloc-of-8")) use_malloc_of_8();
        else if (!strcmp(argv[at], "--output")) is_output = 1;
        else if (!strcmp(argv[at], "--stream")) is_streaming = 1;
        else if (!strcmp(argv[at], "--threads")) threads = atoi(argv[++at]);
        else if (!strcmp(argv[at], "--pause")) pause_ms = atoi(argv[++at]);
        else if (!strcmp(argv[at], "--reload")) reload_every = atoi(argv[++at]);
        else return 2;
    }
    if (at >= argc) return 2;
    path = argv[at++];
    keys = argv + at;
    key_count = argc - at;
    if (is_streaming) return stream();
    read_frames();

    struct runner *runners = calloc(threads, sizeof *runners);
    pthread_t *ids = calloc(threads, sizeof *ids);
    runners[0].is_first = 1;
    for (int i = 1; i < threads; i++) pthread_create(&ids[i], NULL, run, &runners[i]);
    run(&runners[0]);
    for (int i = 1; i < threads; i++) pthread_join(ids[i], NULL);
    for (int i = 0; i < threads; i++) if (runners[i].failed) return 1;
    for (size_t i = 0; i < frame_count; i++) write_answer(&frames[i]);
    return 0;
}
