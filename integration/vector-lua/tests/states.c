/* Several Lua states in one process, as several Vector transforms have them: each is made on one thread, used on
 * others one after another, never on two at once, and closed while other states are busy.
 *
 * states SCRIPT: SCRIPT defines send(n) and stop(). Prints the number of events that came out, and whether the module
 * outlived all states, as its threads need. */
#include <lua5.4/lauxlib.h>
#include <lua5.4/lua.h>
#include <lua5.4/lualib.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STATES = 4, ROUNDS = 10, MOVES = 3, EVENTS = 100 };

static const char *script;

static void must(lua_State *L, int status) {
    if (status != LUA_OK) {
        fprintf(stderr, "%s\n", lua_tostring(L, -1));
        exit(1);
    }
}

static void *use(void *state) {
    lua_State *L = state;
    for (int n = 0; n < EVENTS; n++) {
        lua_getglobal(L, "send");
        lua_pushinteger(L, n);
        must(L, lua_pcall(L, 1, 0, 0));
    }
    return NULL;
}

/* Half of the states are closed without their shutdown hook. */
static void *live(void *number) {
    long out = 0;
    for (int round = 0; round < ROUNDS; round++) {
        lua_State *L = luaL_newstate();
        luaL_openlibs(L);
        must(L, luaL_dofile(L, script));
        for (int move = 0; move < MOVES; move++) {
            pthread_t thread;
            pthread_create(&thread, NULL, use, L);
            pthread_join(thread, NULL);
        }
        if ((round + *(int *)number) % 2) {
            lua_getglobal(L, "stop");
            must(L, lua_pcall(L, 0, 0, 0));
        }
        lua_getglobal(L, "out");
        out += lua_tointeger(L, -1);
        lua_close(L);
    }
    return (void *)out;
}

static int is_mapped(const char *name) {
    char line[4096];
    int found = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    while (maps && fgets(line, sizeof line, maps)) found |= strstr(line, name) != NULL;
    if (maps) fclose(maps);
    return found;
}

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    script = argv[1];
    pthread_t threads[STATES];
    int numbers[STATES];
    long out = 0;
    for (int i = 0; i < STATES; i++) {
        numbers[i] = i;
        pthread_create(&threads[i], NULL, live, &numbers[i]);
    }
    for (int i = 0; i < STATES; i++) {
        void *count;
        pthread_join(threads[i], &count);
        out += (long)count;
    }
    printf("%ld of %d\n", out, STATES * ROUNDS * MOVES * EVENTS);
    if (is_mapped("oddline_native.so")) puts("the module is still mapped");
    return 0;
}
