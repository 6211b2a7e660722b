import t from 'tap'
import { Answers } from '../../lib/ws/answers.ts'

t.test('a conversation has the stream that answers it last, until that ends', async (t) => {
  const answers = new Answers()
  answers.set('a', 's1')
  answers.set('__proto__', 's2')

  t.equal(answers.get('a'), 's1')
  t.equal(answers.get('__proto__'), 's2')
  t.equal(answers.get('constructor'), undefined)
  answers.set('a', 's3')
  answers.delete('a', 's1')
  t.equal(answers.get('a'), 's3', 'the end of an earlier one is not its end')
  answers.delete('a', 's3')
  t.equal(answers.get('a'), undefined)
})
