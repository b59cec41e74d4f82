export * from "@msgpack/msgpack";
