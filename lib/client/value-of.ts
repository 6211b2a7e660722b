/** An option's value; where it is a function, what that gives. */
export async function valueOf<Value> (option: Value | (() => Value | Promise<Value>)): Promise<Value> {
  return typeof option === 'function' ? await (option as () => Value | Promise<Value>)() : option
}
